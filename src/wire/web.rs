//! A client for servers other than the API server: reqwest with the same TLS configuration and the same choice of
//! proxies.

use std::time::Duration;

use http::Uri;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::ClientConfig;

use super::proxy::{Proxies, Proxy};

/// The timeout for a connection to be established.
const CONNECT: Duration = Duration::from_secs(8);
/// Maximum number of redirects of one request, as in Go.
const REDIRECTS: usize = 10;

/// Follows redirects within one server only. A redirect to another server is returned as the answer.
pub(crate) fn client(tls: ClientConfig, proxies: Proxies) -> Result<Client, String> {
    let within = Policy::custom(|attempt| {
        let same = attempt.previous().last().is_some_and(|at| at.origin() == attempt.url().origin());
        if same && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
    });
    let chosen = reqwest::Proxy::custom(move |to: &Url| {
        let to: Uri = to.as_str().parse().ok()?;
        proxies.of(&to).and_then(Proxy::url)
    });
    Client::builder()
        .tls_backend_preconfigured(tls)
        .proxy(chosen)
        .redirect(within)
        .connect_timeout(CONNECT)
        .build()
        .map_err(|e| super::error::words(&e))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::tls::{Identity, Trust, client_config};

    /// A server that redirects `/here` to a path of its own, and `/away` to another port.
    async fn server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let n = peer.read(&mut asked).await.unwrap();
                let to = match String::from_utf8_lossy(&asked[..n]).split(' ').nth(1) {
                    Some("/here") => Some("/there"),
                    Some("/away") => Some("http://127.0.0.1:9/"),
                    _ => None,
                };
                let answer = to.map_or_else(
                    || "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned(),
                    |to| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
                );
                peer.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        format!("http://{at}")
    }

    #[tokio::test]
    async fn a_redirect_to_another_server_is_the_answer() {
        let at = server().await;
        let tls = client_config(&Trust::Anyone, Arc::new(Identity::default())).unwrap();
        let client = client(tls, Proxies::default()).unwrap();
        for (path, code) in [("/", 200), ("/here", 200), ("/away", 302)] {
            let answer = client.get(format!("{at}{path}")).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), code, "{path}");
        }
    }
}
