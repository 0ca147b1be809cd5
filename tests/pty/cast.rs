//! Records screens as an animated picture: an asciicast (version 2), which terminals and web pages play. Its times are those
//! of a reader, not those of the machine, so that it is the same on each machine as far as the screens are.

use std::path::Path;

use serde_json::{Value, json};

use crate::picture::PALETTE;
use crate::seat::Seat;

/// The largest file.
const MOST: usize = 300_000;

/// A cast of one terminal.
pub struct Cast {
    title: &'static str,
    events: Vec<(f64, String)>,
    /// When the next screen is shown, in seconds.
    at: f64,
    last: Option<vt100::Screen>,
}

impl Cast {
    pub fn new(title: &'static str) -> Self {
        Self { title, events: Vec::new(), at: 0.0, last: None }
    }

    /// Adds the screen as it is now. It is shown for this long.
    pub fn frame(&mut self, seat: &Seat, secs: f64) {
        let screen = seat.screen();
        let mut text = match &self.last {
            Some(last) => screen.contents_diff(last),
            None => screen.contents_formatted(),
        };
        // the cursor is no part of the picture
        text.push_str("\x1b[?25l");
        self.events.push((self.at, text));
        self.at += secs;
        self.last = Some(screen.clone());
    }

    /// The lines of the file.
    fn lines(&self) -> String {
        let (rows, columns) = self.last.as_ref().expect("a frame").size();
        let hex = |(r, g, b): &(u8, u8, u8)| format!("#{r:02x}{g:02x}{b:02x}");
        let palette: Vec<String> = PALETTE.iter().map(hex).collect();
        let theme = json!({"fg": palette[7], "bg": palette[0], "palette": palette.join(":")});
        let head = json!({
            "version": 2, "width": columns.get(), "height": rows.get(), "title": self.title, "theme": theme,
        });
        // the end of the last screen
        let last = (self.at, String::new());
        let event = |(at, text): &(f64, String)| json!([at, "o", text]).to_string();
        let events = self.events.iter().chain([&last]).map(event);
        [head.to_string()].into_iter().chain(events).map(|line| line + "\n").collect()
    }

    /// Checks that the cast plays to the last screen, and writes it as `NAME.cast` if a folder is given.
    pub fn finish(&self, folder: Option<&Path>, name: &str) {
        let text = self.lines();
        assert!(text.len() < MOST, "{} bytes", text.len());
        let last = self.last.as_ref().unwrap();
        let (rows, columns) = last.size();
        let mut player = vt100::Parser::new(rows, columns, 0);
        for line in text.lines().skip(1) {
            let event: Value = serde_json::from_str(line).unwrap();
            player.process(event[2].as_str().unwrap().as_bytes());
        }
        assert_eq!(player.screen().contents(), last.contents());
        if let Some(folder) = folder {
            std::fs::write(folder.join(format!("{name}.cast")), text).unwrap();
        }
    }
}
