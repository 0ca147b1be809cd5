//! PEM as Go reads it: text around the blocks, CRLF and several blocks in one file are allowed; a malformed block is
//! skipped.

use base64::Engine as _;

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// `CERTIFICATE`, `EC PRIVATE KEY`, …
    pub label: String,
    /// The block has headers, as an encrypted key does.
    pub headers: bool,
    pub der: Vec<u8>,
}

/// The blocks of a text, in order.
pub(super) fn blocks(bytes: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    let mut open: Option<(String, Vec<&str>)> = None;
    for line in text.lines().map(str::trim_end) {
        if let Some(label) = fence(line, "-----BEGIN ") {
            open = Some((label.to_owned(), Vec::new()));
        } else if let Some(label) = fence(line, "-----END ") {
            if let Some((begun, lines)) = open.take()
                && begun == label
                && let Some(block) = block(begun, &lines)
            {
                found.push(block);
            }
        } else if let Some((_, lines)) = &mut open {
            lines.push(line);
        }
    }
    found
}

fn fence<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix("-----")
}

fn block(label: String, lines: &[&str]) -> Option<Block> {
    let headers = lines.iter().any(|line| line.contains(':'));
    // headers end with an empty line
    let body: String =
        lines.iter().filter(|line| !line.contains(':')).flat_map(|l| l.split_whitespace()).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
    Some(Block { label, headers, der })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_between_other_text() {
        let text = b"Certificate:\n  Data: x\n-----BEGIN EC PARAMETERS-----\r\nBggq\r\n-----END EC PARAMETERS-----\r\n\
            subject=/CN=x\n-----BEGIN CERTIFICATE-----\naGVs\nbG8=\n-----END CERTIFICATE-----\n\
            -----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n\
            -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\naGVs\n-----END RSA PRIVATE KEY-----";
        let found = blocks(text);
        let labels: Vec<_> = found.iter().map(|b| (b.label.as_str(), b.headers)).collect();
        assert_eq!(labels, [("EC PARAMETERS", false), ("CERTIFICATE", false), ("RSA PRIVATE KEY", true)]);
        assert_eq!(found.get(1).unwrap().der, b"hello");
        assert!(blocks(b"").is_empty());
        assert!(blocks(&[0xff, 0x00]).is_empty());
    }
}
