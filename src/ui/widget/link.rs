//! Hyperlinks (OSC 8): which terminals know them, which URLs they may have, and which cells of a frame have one.

use ratatui::buffer::Buffer;

/// The longest URL. Terminals cut longer ones, or take them for something else.
const LONGEST: usize = 2_000;

/// A text of a frame with the URL that it leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The first cell.
    pub x: u16,
    pub y: u16,
    /// The text as it was written. If something else was drawn over it later, it is no link.
    pub text: String,
    pub url: String,
}

impl Link {
    /// Whether the cell is one of its own.
    pub fn has(&self, x: u16, y: u16) -> bool {
        y == self.y && x >= self.x && usize::from(x - self.x) < self.text.len()
    }

    /// Whether the frame has its text, and its URL is harmless.
    pub fn is_drawn(&self, frame: &Buffer) -> bool {
        // each of these characters takes one cell
        let is_plain = !self.text.is_empty() && self.text.bytes().all(|b| (b' '..=b'~').contains(&b));
        let is_there = |(x, c): (u16, char)| {
            let cell = self.x.checked_add(x).and_then(|x| frame.cell((x, self.y)));
            cell.is_some_and(|cell| cell.symbol().chars().eq([c]))
        };
        is_plain && is_harmless(&self.url) && (0u16..).zip(self.text.chars()).all(is_there)
    }
}

/// Whether a URL can be sent: one of the web, and without a character that could end the sequence or that a terminal could
/// take for something else.
fn is_harmless(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty())
        && url.len() <= LONGEST
        && url.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether the terminal knows hyperlinks, by its environment. tmux and screen would have to pass them on, which is not known,
/// and a terminal that nothing is known of could show the sequence.
pub fn is_known(var: impl Fn(&str) -> String) -> bool {
    let term = var("TERM");
    let between = !var("TMUX").is_empty()
        || !var("STY").is_empty()
        || term.starts_with("tmux")
        || term.starts_with("screen");
    let terms = ["xterm-kitty", "xterm-ghostty", "foot", "alacritty", "wezterm", "contour", "mintty"];
    let programs = ["iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio", "Tabby"];
    let vte = var("VTE_VERSION").parse::<u32>().is_ok_and(|version| version >= 5_000);
    let konsole = var("KONSOLE_VERSION").parse::<u32>().is_ok_and(|version| version >= 201_200);
    !between
        && (vte
            || konsole
            || !var("WT_SESSION").is_empty()
            || terms.iter().any(|known| term.starts_with(known))
            || programs.contains(&var("TERM_PROGRAM").as_str()))
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn only_harmless_urls_are_sent() {
        for good in ["https://runbooks.example/a?b=c&d=%20#e", "http://10.0.0.1:9093"] {
            assert!(is_harmless(good), "{good}");
        }
        for bad in [
            "",
            "https://",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "HTTPS://a",
            "https://a b",
            "https://a\u{7}",
            "https://a\u{1b}\\",
            "https://a\u{9c}",
            "https://ä",
            &format!("https://{}", "a".repeat(3_000)),
        ] {
            assert!(!is_harmless(bad), "{bad}");
        }
    }

    #[test]
    fn a_terminal_that_is_not_known_gets_none() {
        let of = |set: &'static [(&str, &str)]| {
            is_known(|name| {
                set.iter().find(|(n, _)| *n == name).map_or_else(String::new, |(_, v)| (*v).into())
            })
        };
        assert!(of(&[("TERM", "xterm-256color"), ("VTE_VERSION", "7600")]));
        assert!(of(&[("TERM", "xterm-kitty")]) && of(&[("TERM_PROGRAM", "iTerm.app")]));
        assert!(!of(&[("TERM", "xterm-256color")]) && !of(&[("TERM", "linux")]) && !of(&[]));
        assert!(!of(&[("TERM", "xterm-256color"), ("VTE_VERSION", "4400")]), "it shows the sequence");
        assert!(!of(&[("TERM", "tmux-256color"), ("VTE_VERSION", "7600")]));
        assert!(!of(&[("TERM", "xterm-kitty"), ("TMUX", "/tmp/tmux-0/default,1,0")]));
        assert!(!of(&[("TERM", "xterm-kitty"), ("STY", "1.pts-0.host")]));
    }

    #[test]
    fn what_is_drawn_over_a_link_is_none() {
        let mut frame = Buffer::empty(Rect::new(0, 0, 20, 1));
        frame.set_string(2, 0, "https://a/b", Style::default());
        let link = Link { x: 2, y: 0, text: "https://a/b".into(), url: "https://a/b".into() };
        assert!(link.is_drawn(&frame));
        assert!(link.has(2, 0) && link.has(12, 0) && !link.has(13, 0) && !link.has(1, 0) && !link.has(2, 1));
        frame.set_string(5, 0, "│", Style::default());
        assert!(!link.is_drawn(&frame), "a dialog is above it");
        let outside = Link { x: 15, text: "https://a/b".into(), ..link };
        assert!(!outside.is_drawn(&frame));
    }
}
