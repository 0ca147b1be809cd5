//! A server that records its requests, and proxies in front of it. Each connection has a thread, which ends with the
//! process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, ServerConnection, SignatureScheme,
};

/// The folder of the certificates.
pub fn pki() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/access/pki")
}

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http,
    /// With a certificate of the folder, and another one after it in the chain ("": none).
    Https(&'static str, &'static str),
    /// Redirects to the last server, with this status.
    Redirect(u16),
}

/// Each answered request, as one line.
pub type Seen = Arc<Mutex<Vec<String>>>;

pub fn seen() -> Seen {
    Arc::default()
}

/// Starts one; returns its port.
pub fn serve(speaks: Speaks, seen: &Seen, redirect_to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = seen.clone();
    let tls = match speaks {
        Speaks::Https(name, behind) => Some(Arc::new(config(name, behind))),
        _ => None,
    };
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (seen, tls) = (seen.clone(), tls.clone());
            std::thread::spawn(move || {
                let told = match tls {
                    None => answer(socket, "http", None, speaks, redirect_to, &seen),
                    Some(tls) => secure(socket, tls, speaks, redirect_to, &seen),
                };
                // many rows are about a client that gives up
                drop(told);
            });
        }
    });
    port
}

fn secure(
    mut socket: TcpStream,
    tls: Arc<ServerConfig>,
    speaks: Speaks,
    to: u16,
    seen: &Seen,
) -> std::io::Result<()> {
    let mut connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let cert = connection.peer_certificates().and_then(|c| c.first()).map(|c| name_of(c));
    let mut stream = rustls::StreamOwned::new(connection, socket);
    answer(&mut stream, "https", cert, speaks, to, seen)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// The folder's name of a certificate.
fn name_of(der: &CertificateDer<'_>) -> String {
    let mut names: Vec<String> = std::fs::read_dir(pki())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("c-") && Path::new(name).extension().is_some_and(|e| e == "crt"))
        .collect();
    names.sort();
    names
        .into_iter()
        .find(|name| CertificateDer::from_pem_file(pki().join(name)).unwrap().as_ref() == der.as_ref())
        .map_or("unknown".into(), |name| name.trim_end_matches(".crt").trim_start_matches("c-").to_owned())
}

fn answer(
    mut stream: impl Read + Write,
    scheme: &str,
    cert: Option<String>,
    speaks: Speaks,
    redirect_to: u16,
    seen: &Seen,
) -> std::io::Result<()> {
    let head = match head(&mut stream) {
        Ok(head) => head,
        Err(error) => {
            // a request that is not HTTP gets the answer of Go's server
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
            return Err(error);
        }
    };
    if let Speaks::Redirect(code) = speaks {
        let path = path_of(&head);
        let reply = format!(
            "HTTP/1.1 {code} X\r\nLocation: http://127.0.0.1:{redirect_to}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return stream.write_all(reply.as_bytes());
    }
    let said = line(&head, scheme, cert);
    seen.lock().unwrap().push(said);
    let body = r#"{"major":"1","minor":"32","gitVersion":"v1.32.4"}"#;
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes())
}

/// The lines before a body.
fn head(stream: &mut impl Read) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0u8];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
        if !head[0].is_ascii_uppercase() {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn path_of(head: &str) -> String {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = target
        .split_once("://")
        .map_or(target, |(_, rest)| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default());
    path.split('?').next().unwrap_or_default().to_owned()
}

fn headers<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// `https /version Bearer t cert=sec1 as=bob groups=a,b`.
fn line(head: &str, scheme: &str, cert: Option<String>) -> String {
    let mut said = format!("{scheme} {} {}", path_of(head), auth(&headers(head, "authorization").join("|")));
    if let Some(cert) = cert {
        said.push_str(&format!(" cert={cert}"));
    }
    for (name, short) in
        [("impersonate-user", "as"), ("impersonate-group", "groups"), ("impersonate-uid", "uid")]
    {
        let values = headers(head, name);
        if !values.is_empty() {
            said.push_str(&format!(" {short}={}", values.join(",")));
        }
    }
    let mut extra: Vec<String> = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(key, value)| {
            let key = key.to_ascii_lowercase();
            Some(format!(" {}={}", key.strip_prefix("impersonate-extra-")?, value.trim()))
        })
        .collect();
    extra.sort();
    said + &extra.concat()
}

fn auth(value: &str) -> String {
    match value.strip_prefix("Basic ") {
        _ if value.is_empty() => "-".into(),
        Some(pair) => {
            let pair = base64::engine::general_purpose::STANDARD.decode(pair).unwrap();
            format!("Basic {}", String::from_utf8_lossy(&pair))
        }
        None => value.to_owned(),
    }
}

fn config(name: &str, behind: &str) -> ServerConfig {
    let file = |name: String| pki().join(name);
    let mut chain = vec![CertificateDer::from_pem_file(file(format!("{name}.crt"))).unwrap()];
    if !behind.is_empty() {
        chain.push(CertificateDer::from_pem_file(file(format!("{behind}.crt"))).unwrap());
    }
    let key = PrivateKeyDer::from_pem_file(file(format!("{name}.key"))).unwrap();
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(Arc::new(AnyClient))
        .with_single_cert(chain, key)
        .unwrap()
}

/// Requests a client certificate and accepts any.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = default_provider().signature_verification_algorithms.supported_schemes();
        schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
        schemes
    }
}

/// Starts a proxy for HTTP and SOCKS5 that forwards everything to one port; its own requests are logged before those of
/// the server.
pub fn proxy(to: u16, seen: &Seen) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = seen.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let seen = seen.clone();
            std::thread::spawn(move || drop(through(socket, to, &seen)));
        }
    });
    port
}

fn through(mut socket: TcpStream, to: u16, seen: &Seen) -> std::io::Result<()> {
    let mut first = [0u8];
    socket.peek(&mut first)?;
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    if first == [5] {
        let asked = socks(&mut socket)?;
        seen.lock().unwrap().push(asked);
    } else {
        let head = head(&mut socket)?;
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let auth = auth(&headers(&head, "proxy-authorization").join("|"));
        let target =
            target.split_once("://").map_or(target, |(_, rest)| rest).split('/').next().unwrap_or_default();
        seen.lock()
            .unwrap()
            .push(format!("{} {target} {auth}", if method == "CONNECT" { "CONNECT" } else { "GET" }));
        if method == "CONNECT" {
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        } else {
            server.write_all(head.as_bytes())?;
        }
    }
    let (mut up, mut down) = (socket.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let copied = std::io::copy(&mut up, &mut down);
        drop((copied, down.shutdown(std::net::Shutdown::Write)));
    });
    std::io::copy(&mut server, &mut socket)?;
    socket.shutdown(std::net::Shutdown::Both)
}

/// The handshake; returns `socks5 HOST:PORT user:password`.
fn socks(socket: &mut TcpStream) -> std::io::Result<String> {
    let mut take = |n: usize, socket: &mut TcpStream| -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        socket.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let methods = take(2, socket)?[1];
    let methods = take(methods.into(), socket)?;
    let mut who = "-".to_owned();
    if methods.contains(&2) {
        socket.write_all(&[5, 2])?;
        let text =
            |socket: &mut TcpStream,
             take: &mut dyn FnMut(usize, &mut TcpStream) -> std::io::Result<Vec<u8>>| {
                let n = take(1, socket)?[0];
                Ok::<_, std::io::Error>(String::from_utf8_lossy(&take(n.into(), socket)?).into_owned())
            };
        take(1, socket)?;
        who = format!("{}:{}", text(socket, &mut take)?, text(socket, &mut take)?);
        socket.write_all(&[1, 0])?;
    } else {
        socket.write_all(&[5, 0])?;
    }
    let kind = take(4, socket)?[3];
    let host = match kind {
        1 => take(4, socket)?.iter().map(ToString::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let n = take(1, socket)?[0];
            String::from_utf8_lossy(&take(n.into(), socket)?).into_owned()
        }
        _ => format!("v6-{}", take(16, socket)?.len()),
    };
    let port = take(2, socket)?;
    socket.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(format!("socks5 {host}:{} {who}", u16::from_be_bytes([port[0], port[1]])))
}
