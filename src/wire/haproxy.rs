//! The runtime API of HAProxy: one command in one connection to its stats socket or address, and the table of its
//! servers.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// The deadline of a command.
const DEADLINE: Duration = Duration::from_secs(5);
/// The maximum size of an answer.
const BODY_CAP: u64 = 4 << 20;

/// Where the runtime API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Socket(PathBuf),
    /// `HOST:PORT`
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// The two ways in which a command fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It was never sent.
    #[error("{0}")]
    Unreachable(String),
    /// It was sent, and there is no complete answer.
    #[error("{0}")]
    Lost(String),
}

/// One server of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    /// The server gets requests: it is up.
    pub is_up: bool,
    pub in_maintenance: bool,
    pub is_draining: bool,
    pub weight: i64,
}

/// Sends one command, and returns the answer.
pub async fn command(address: &Address, line: &str) -> Result<String, CommandError> {
    let late = || format!("{address}: no answer within {} s", DEADLINE.as_secs());
    let failed = |e: std::io::Error| CommandError::Unreachable(format!("{address}: {e}"));
    let opened = async {
        Ok(match address {
            Address::Socket(path) => Stream::Unix(UnixStream::connect(path).await.map_err(failed)?),
            Address::Tcp(address) => Stream::Tcp(TcpStream::connect(address).await.map_err(failed)?),
        })
    };
    let stream = tokio::time::timeout(DEADLINE, opened).await;
    let stream = stream.map_err(|_| CommandError::Unreachable(late()))??;
    let exchanged = async {
        match stream {
            Stream::Unix(stream) => exchange(stream, line).await,
            Stream::Tcp(stream) => exchange(stream, line).await,
        }
    };
    match tokio::time::timeout(DEADLINE, exchanged).await {
        Ok(answer) => answer.map_err(|e| CommandError::Lost(format!("{address}: {e}"))),
        Err(_) => Err(CommandError::Lost(late())),
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, line: &str) -> std::io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    // HAProxy closes the connection after the answer
    stream.take(BODY_CAP).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Bits of `srv_admin_state` (HAProxy's `server-t.h`): forced maintenance, and forced drain.
const FORCED_MAINTENANCE: u32 = 0x01;
const FORCED_DRAIN: u32 = 0x08;
/// The value of `srv_op_state` of a server that is up.
const UP: &str = "2";

/// Reads the answer to `show servers state BACKEND`, format version 1. Returns `None` if it is another answer.
pub fn servers(answer: &str) -> Option<Vec<Server>> {
    let mut lines = answer.lines().skip_while(|line| line.trim().is_empty());
    if lines.next()?.trim() != "1" {
        return None;
    }
    let head: Vec<&str> = lines.next()?.trim_start_matches('#').split_whitespace().collect();
    let column = |name: &str| head.iter().position(|column| *column == name);
    let (name, op) = (column("srv_name")?, column("srv_op_state")?);
    let (admin, weight) = (column("srv_admin_state")?, column("srv_uweight")?);
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let bits: u32 = fields.get(admin)?.parse().ok()?;
        Some(Server {
            name: (*fields.get(name)?).to_owned(),
            is_up: *fields.get(op)? == UP,
            in_maintenance: bits & FORCED_MAINTENANCE != 0,
            is_draining: bits & FORCED_DRAIN != 0,
            weight: fields.get(weight)?.parse().ok()?,
        })
    };
    Some(lines.filter_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_servers() {
        let text = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change\n3 app 1 a 127.0.0.1 2 0 100 100 5\n3 app 2 b 127.0.0.1 0 1 50 100 5\n3 app 3 c 127.0.0.1 2 8 0 100 5\n\n";
        let found = servers(text).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|s| (s.name.as_str(), s.is_up, s.in_maintenance, s.is_draining, s.weight))
            .collect();
        assert_eq!(
            told,
            [("a", true, false, false, 100), ("b", false, true, false, 50), ("c", true, false, true, 0)]
        );
        assert_eq!(servers("Can't find backend.\n"), None);
        assert_eq!(servers(""), None);
    }
}
