//! LANG=C and `--ascii`: replaces all drawn characters by ASCII in one pass over the finished frame, so that no view
//! has to handle it.

use ratatui::buffer::Buffer;

fn plain(symbol: &str) -> &'static str {
    match symbol {
        "─" | "━" | "–" | "—" | "═" => "-",
        "│" | "┃" => "|",
        "✓" | "╭" | "╮" | "╰" | "╯" | "┌" | "┐" | "└" | "┘" | "├" | "┤" | "┬" | "┴" | "┼" => {
            "+"
        }
        "✖" => "X",
        "…" => "~",
        "·" | "•" => ".",
        "→" | "▶" | "›" | "≥" => ">",
        "←" | "‹" => "<",
        "↑" | "▲" => "^",
        "↓" | "▼" => "v",
        "▁" | "▂" => ".",
        "▃" | "▄" => ":",
        "▅" | "▆" => "=",
        "▇" | "█" | "■" => "#",
        "□" => "o",
        "░" => "-",
        _ => "?",
    }
}

/// Replaces characters that are not ASCII.
pub fn flatten(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let plain = plain(cell.symbol());
            cell.set_symbol(plain);
        }
    }
}
