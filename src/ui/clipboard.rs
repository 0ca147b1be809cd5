//! The clipboard of the user's terminal, set with OSC 52. This works over SSH, but no terminal confirms it. tmux and
//! screen pass the sequence on only in forms of their own.

/// The programs that the sequence has to pass through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clipboard {
    #[default]
    Terminal,
    Tmux,
    Screen,
}

/// GNU screen passes on a control string of at most this many bytes.
const SCREEN_CHUNK: usize = 240;

impl Clipboard {
    /// From the environment: `TMUX`, `STY` and `TERM` (only `TERM` crosses an SSH connection).
    pub fn behind(tmux: &str, sty: &str, term: &str) -> Self {
        if !tmux.is_empty() || term.starts_with("tmux") {
            Self::Tmux
        } else if !sty.is_empty() {
            Self::Screen
        } else {
            Self::Terminal
        }
    }

    /// The bytes to send. The text itself is sent as base64.
    pub fn bytes(self, text: &str) -> Vec<u8> {
        let command = crossterm::clipboard::CopyToClipboard::to_clipboard_from(text);
        let mut plain = String::new();
        if crossterm::Command::write_ansi(&command, &mut plain).is_err() {
            return Vec::new();
        }
        match self {
            Self::Terminal => plain.into_bytes(),
            // tmux handles the one itself (set-clipboard on), or passes the other on (allow-passthrough on)
            Self::Tmux => {
                let through = plain.replace('\u{1b}', "\u{1b}\u{1b}");
                format!("{plain}\u{1b}Ptmux;{through}\u{1b}\\").into_bytes()
            }
            Self::Screen => {
                // an ESC inside would end the control string
                let ended =
                    plain.strip_suffix("\u{1b}\\").map(|start| format!("{start}\u{7}")).unwrap_or(plain);
                let parts = ended.as_bytes().chunks(SCREEN_CHUNK);
                parts.flat_map(|part| [b"\x1bP", part, b"\x1b\\"].concat()).collect()
            }
        }
    }

    /// Why the text may not arrive, for the user.
    pub fn caveat(self) -> &'static str {
        match self {
            Self::Terminal => "not every terminal supports it",
            Self::Tmux => "tmux passes it on only with set-clipboard on",
            Self::Screen => "through screen; not every terminal supports it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_is_known_by_the_environment() {
        for (tmux, sty, term, want) in [
            ("", "", "xterm-256color", Clipboard::Terminal),
            ("/tmp/tmux-0/default,1,0", "", "screen-256color", Clipboard::Tmux),
            ("", "", "tmux-256color", Clipboard::Tmux),
            ("", "1234.pts-0.host", "screen", Clipboard::Screen),
            ("", "", "screen-256color", Clipboard::Terminal),
        ] {
            assert_eq!(Clipboard::behind(tmux, sty, term), want, "{tmux} {sty} {term}");
        }
    }

    #[test]
    fn it_is_wrapped_for_what_stands_between() {
        let text = |kind: Clipboard, words: &str| String::from_utf8(kind.bytes(words)).unwrap();
        // base64 of `pay`
        assert_eq!(text(Clipboard::Terminal, "pay"), "\u{1b}]52;c;cGF5\u{1b}\\");
        assert_eq!(
            text(Clipboard::Tmux, "pay"),
            "\u{1b}]52;c;cGF5\u{1b}\\\u{1b}Ptmux;\u{1b}\u{1b}]52;c;cGF5\u{1b}\u{1b}\\\u{1b}\\"
        );
        assert_eq!(text(Clipboard::Screen, "pay"), "\u{1b}P\u{1b}]52;c;cGF5\u{7}\u{1b}\\");
        let long = text(Clipboard::Screen, &"x".repeat(3000));
        assert!(long.split("\u{1b}\\").all(|part| part.len() <= SCREEN_CHUNK + 2));
        let whole: String =
            long.split("\u{1b}\\").map(|part| part.strip_prefix("\u{1b}P").unwrap_or(part)).collect();
        assert!(whole.starts_with("\u{1b}]52;c;eHh4") && whole.ends_with('\u{7}'));
    }

    #[test]
    fn no_byte_of_the_text_goes_as_it_is() {
        for kind in [Clipboard::Terminal, Clipboard::Tmux, Clipboard::Screen] {
            let sent = String::from_utf8(kind.bytes("a\u{1b}]0;evil\u{7}\u{9c}b\n")).unwrap();
            assert!(!sent.contains("evil") && !sent.contains('\n') && !sent.contains('\u{9c}'), "{sent:?}");
        }
    }
}
