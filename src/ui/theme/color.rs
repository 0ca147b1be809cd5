//! Colours by name, number or `#rrggbb`, and their replacements on terminals with fewer colours.

use ratatui::style::Color;

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    None,
    #[default]
    Ansi16,
    Ansi256,
    True,
}

/// The sixteen colours by their usual names, with xterm's values.
const NAMED: [(&str, Color, (u8, u8, u8)); 16] = [
    ("black", Color::Black, (0, 0, 0)),
    ("red", Color::Red, (205, 0, 0)),
    ("green", Color::Green, (0, 205, 0)),
    ("yellow", Color::Yellow, (205, 205, 0)),
    ("blue", Color::Blue, (0, 0, 238)),
    ("magenta", Color::Magenta, (205, 0, 205)),
    ("cyan", Color::Cyan, (0, 205, 205)),
    ("gray", Color::Gray, (229, 229, 229)),
    ("bright-black", Color::DarkGray, (127, 127, 127)),
    ("bright-red", Color::LightRed, (255, 85, 85)),
    ("bright-green", Color::LightGreen, (0, 255, 0)),
    ("bright-yellow", Color::LightYellow, (255, 255, 0)),
    ("bright-blue", Color::LightBlue, (92, 92, 255)),
    ("bright-magenta", Color::LightMagenta, (255, 0, 255)),
    ("bright-cyan", Color::LightCyan, (0, 255, 255)),
    ("white", Color::White, (255, 255, 255)),
];

/// Parses a colour; None if it is not one.
pub fn parse(text: &str) -> Option<Color> {
    if let Some((_, color, _)) = NAMED.iter().find(|(name, ..)| *name == text) {
        return Some(*color);
    }
    if let Some(hex) = text.strip_prefix('#')
        && hex.chars().count() == 6
    {
        let n = u32::from_str_radix(hex, 16).ok()?;
        let [_, r, g, b] = n.to_be_bytes();
        return Some(Color::Rgb(r, g, b));
    }
    text.parse::<u8>().ok().map(Color::Indexed)
}

fn rgb(color: Color) -> Option<(u8, u8, u8)> {
    match color {
        Color::Rgb(r, g, b) => Some((r, g, b)),
        Color::Indexed(i @ 0..=15) => NAMED.get(usize::from(i)).map(|(_, _, rgb)| *rgb),
        Color::Indexed(i @ 16..=231) => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + n * 40 };
            let i = i - 16;
            Some((level(i / 36), level(i / 6 % 6), level(i % 6)))
        }
        Color::Indexed(i) => {
            let v = 8 + (i - 232) * 10;
            Some((v, v, v))
        }
        named => NAMED.iter().find(|(_, c, _)| *c == named).map(|(_, _, rgb)| *rgb),
    }
}

fn distance(a: (u8, u8, u8), b: (u8, u8, u8)) -> u32 {
    let d = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    d(a.0, b.0) + d(a.1, b.1) + d(a.2, b.2)
}

impl Depth {
    /// The nearest colour that the terminal has.
    pub fn reduce(self, color: Color) -> Option<Color> {
        let from = rgb(color);
        match (self, color) {
            (Self::None, _) => None,
            (Self::True, _) | (Self::Ansi256, Color::Indexed(_)) => Some(color),
            (Self::Ansi256, Color::Rgb(..)) => {
                let from = from?;
                (16..=255u8)
                    .map(Color::Indexed)
                    .min_by_key(|c| rgb(*c).map_or(u32::MAX, |to| distance(from, to)))
            }
            (Self::Ansi16, Color::Rgb(..) | Color::Indexed(_)) => {
                let from = from?;
                NAMED.iter().min_by_key(|(_, _, to)| distance(from, *to)).map(|(_, c, _)| *c)
            }
            (_, named) => Some(named),
        }
    }
}

/// WCAG's contrast ratio, 1 to 21.
#[cfg(test)]
pub(super) fn contrast(one: Color, other: Color) -> f64 {
    let channel = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = |color: Color| {
        let (red, green, blue) = rgb(color).unwrap_or_default();
        0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue)
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_reduces() {
        assert_eq!(parse("#ff0000"), Some(Color::Rgb(255, 0, 0)));
        assert_eq!(parse("208"), Some(Color::Indexed(208)));
        assert_eq!(parse("reddish"), None);
        assert_eq!(Depth::Ansi16.reduce(Color::Rgb(200, 10, 10)), Some(Color::Red));
        assert_eq!(Depth::Ansi256.reduce(Color::Rgb(255, 0, 0)), Some(Color::Indexed(196)));
        assert_eq!(Depth::None.reduce(Color::Red), None);
    }
}
