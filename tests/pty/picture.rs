//! A parsed screen as an SVG picture, for `screenshots/`.

use std::fmt::Write;
use std::path::Path;

use crate::seat::Seat;

/// What a colour is in an SGR sequence; `base` is 38 or 48.
fn color(out: &mut String, color: vt100::Color, base: u8) {
    match color {
        vt100::Color::Default => Ok(()),
        vt100::Color::Idx(n) => write!(out, ";{base};5;{n}"),
        vt100::Color::Rgb(r, g, b) => write!(out, ";{base};2;{r};{g};{b}"),
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
        .fg_color(anstyle::Color::Rgb(anstyle::RgbColor(0xd8, 0xd8, 0xd8)))
        .bg_color(anstyle::Color::Rgb(anstyle::RgbColor(0x14, 0x16, 0x1b)));
    let svg = term.render_svg(&ansi(seat.screen()));
    std::fs::write(folder.join(format!("{name}.svg")), svg).unwrap();
}
