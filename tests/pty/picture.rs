//! Draws a parsed screen as an SVG picture, for `screenshots/`.

use std::fmt::Write;
use std::path::Path;

use crate::seat::Seat;

/// What a terminal of today makes of the sixteen colours that are its own to choose.
pub const PALETTE: [(u8, u8, u8); 16] = [
    (0x1b, 0x1e, 0x25),
    (0xe0, 0x5f, 0x65),
    (0x78, 0xc3, 0x79),
    (0xe5, 0xb5, 0x67),
    (0x6c, 0x9c, 0xef),
    (0xb8, 0x82, 0xd9),
    (0x56, 0xc2, 0xcf),
    (0xd3, 0xd7, 0xde),
    (0x7b, 0x83, 0x92),
    (0xff, 0x6b, 0x72),
    (0x8f, 0xdd, 0x90),
    (0xff, 0xcc, 0x7a),
    (0x86, 0xb2, 0xff),
    (0xd0, 0x9c, 0xf0),
    (0x74, 0xdd, 0xe8),
    (0xf4, 0xf6, 0xf9),
];

/// Ends an SGR sequence with another for a colour; `base` is 38 or 48. The renderer takes two colours of one sequence for
/// one.
fn color(out: &mut String, color: vt100::Color, base: u8) {
    if let vt100::Color::Idx(n) = color
        && let Some((r, g, b)) = PALETTE.get(usize::from(n))
    {
        return write!(out, "m\x1b[{base};2;{r};{g};{b}").unwrap();
    }
    match color {
        vt100::Color::Default => Ok(()),
        vt100::Color::Idx(n) => write!(out, "m\x1b[{base};5;{n}"),
        vt100::Color::Rgb(r, g, b) => write!(out, "m\x1b[{base};2;{r};{g};{b}"),
    }
    .unwrap();
}

/// The screen as lines of text with SGR sequences, without any movement of the cursor.
fn ansi(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let mut out = String::new();
    for row in 0..rows.get() {
        let mut last = String::new();
        for column in 0..columns.get() {
            let Some(cell) = screen.cell(row, column) else { continue };
            if cell.is_wide_continuation() {
                continue;
            }
            let mut style = String::from("\x1b[0");
            for (is, code) in
                [(cell.bold(), ";1"), (cell.dim(), ";2"), (cell.underline(), ";4"), (cell.inverse(), ";7")]
            {
                if is {
                    style.push_str(code);
                }
            }
            color(&mut style, cell.fgcolor(), 38);
            color(&mut style, cell.bgcolor(), 48);
            style.push('m');
            if style != last {
                out.push_str(&style);
                last = style;
            }
            out.push_str(if cell.has_contents() { cell.contents() } else { " " });
        }
        out.push_str("\x1b[0m\n");
    }
    out
}

/// Writes the screen of a seat as `NAME.svg`.
pub fn draw(seat: &Seat, folder: &Path, name: &str) {
    let term = anstyle_svg::Term::new()
        .fg_color(anstyle::Color::Rgb(anstyle::RgbColor(0xd3, 0xd7, 0xde)))
        .bg_color(anstyle::Color::Rgb(anstyle::RgbColor(0x14, 0x16, 0x1b)));
    let svg = term.render_svg(&ansi(seat.screen()));
    std::fs::write(folder.join(format!("{name}.svg")), svg).unwrap();
}
