//! A request that a test's own proxy has read, on its way to the server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

/// One request. Its connection serves no other.
pub struct Request {
    /// The lines of the head, without the one about the connection.
    pub head: String,
    /// What the client sends after the head.
    pub rest: BufReader<TcpStream>,
    /// The number of bytes of the body.
    length: u64,
}

impl Request {
    /// Reads the head. Returns nothing if the client has hung up.
    pub fn read(client: &TcpStream) -> std::io::Result<Option<Self>> {
        let mut rest = BufReader::new(client.try_clone()?);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if rest.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let lower = line.to_lowercase();
            if let Some(bytes) = lower.strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
            if line == "\r\n" {
                return Ok(Some(Self { head, rest, length }));
            }
            if !lower.starts_with("connection:") {
                head.push_str(&line);
            }
        }
    }

    /// Passes the request to the server, and the answer to the client.
    pub fn pass(self, client: &TcpStream, mut server: TcpStream) -> std::io::Result<()> {
        server.write_all(format!("{}connection: close\r\n\r\n", self.head).as_bytes())?;
        std::io::copy(&mut self.rest.take(self.length), &mut server)?;
        // a watch is silent for a long time, and ends with its client
        let (mut gone, ends) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            drop(gone.read(&mut [0]));
            drop(ends.shutdown(Shutdown::Both));
        });
        std::io::copy(&mut server, &mut &*client)?;
        client.shutdown(Shutdown::Both)
    }
}
