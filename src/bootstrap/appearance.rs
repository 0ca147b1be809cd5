//! The appearance according to the terminal and the user's settings: theme, colors and ASCII.

use std::io::IsTerminal;

use pilothouse_core::domain::id::Name;

use super::Start;
use crate::cli::Color;
use crate::config::Home;
use crate::ui::clipboard::Clipboard;
use crate::ui::theme::{BUILT_IN, Depth, Theme};

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Returns the theme, adapted to the terminal, and the errors in it.
pub(super) fn theme(start: &Start) -> (Theme, Option<String>) {
    let name = match start.settings.ui.theme.as_str() {
        _ if colourless(start) => "mono",
        // the default theme is for dark backgrounds, and its yellow cannot be read on a light one
        "default" if is_light(&var("COLORFGBG")) => "light",
        name => name,
    };
    let (theme, fault) = match named(&start.home, name) {
        Ok(theme) => (theme, None),
        Err(why) => (Theme::built_in("default").unwrap_or_default(), Some(why)),
    };
    // a theme without colours stays so
    let theme = if colourless(start) { theme } else { theme.with_clusters(&colours(start)) };
    (theme.reduced(depth(start)), fault)
}

/// Returns the colours that the config has for clusters, each once.
pub(super) fn colours(start: &Start) -> Vec<Name> {
    let mut found: Vec<Name> = Vec::new();
    for colour in start.settings.clusters.iter().map(|set| Name::from(set.colour.as_str())) {
        if !colour.is_empty() && !found.contains(&colour) {
            found.push(colour);
        }
    }
    found
}

/// Returns the theme with this name: the user's own, otherwise a built-in one.
pub(super) fn named(home: &Home, name: &str) -> Result<Theme, String> {
    let folder = home.config.as_ref().map(|config| config.join("themes"));
    let own = |name: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        // a name is never a path
        name.bytes()
            .all(plain)
            .then(|| std::fs::read_to_string(folder.as_ref()?.join(format!("{name}.toml"))).ok())
            .flatten()
    };
    Theme::load(name, &own)
}

/// Returns how to reach the terminal's clipboard through the programs in between.
pub(super) fn clipboard() -> Clipboard {
    Clipboard::behind(&var("TMUX"), &var("STY"), &var("TERM"))
}

/// Whether to use the theme with only bold and reverse: for NO_COLOR, CLICOLOR=0, `--color never`, and terminals
/// without colors.
fn colourless(start: &Start) -> bool {
    match start.global.color {
        Color::Never => true,
        Color::Auto => {
            std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
                || var("CLICOLOR") == "0"
                || matches!(var("TERM").as_str(), "dumb" | "vt100" | "vt220")
                || !std::io::stdout().is_terminal()
        }
        _ => false,
    }
}

/// Whether the background is light according to COLORFGBG, which several terminals set. The value `0;15` contains the
/// colors of the text and of the background in the palette of sixteen. There can be a third value between them.
fn is_light(colours: &str) -> bool {
    let background = colours.rsplit_once(';').map(|(_, background)| background.trim().parse::<u8>());
    matches!(background, Some(Ok(7 | 9..=15)))
}

fn depth(start: &Start) -> Depth {
    match start.global.color {
        Color::Ansi => Depth::Ansi16,
        Color::Indexed => Depth::Ansi256,
        Color::True => Depth::True,
        Color::Auto | Color::Never => {
            if matches!(var("COLORTERM").as_str(), "truecolor" | "24bit") {
                Depth::True
            } else if var("TERM").contains("256") {
                Depth::Ansi256
            } else {
                Depth::Ansi16
            }
        }
    }
}

/// Whether to use ASCII: with `--ascii`, or if the locale is not UTF-8.
pub(super) fn wants_ascii(start: &Start) -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().map(|n| var(n)).find(|v| !v.is_empty()).unwrap_or_default();
    let locale = locale.to_lowercase();
    start.global.ascii || !(locale.contains("utf-8") || locale.contains("utf8")) || var("TERM") == "linux"
}

/// Whether URLs are sent as hyperlinks.
pub(super) fn wants_links(start: &Start) -> bool {
    start.settings.ui.links && crate::ui::widget::link::is_known(var)
}

/// Lists the built-in themes and the user's own, for `pilothouse themes`.
pub(super) fn names(start: &Start) -> String {
    let mut names: Vec<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files = start
        .home
        .config
        .iter()
        .filter_map(|config| std::fs::read_dir(config.join("themes")).ok())
        .flatten()
        .flatten();
    names.extend(files.filter_map(|f| f.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned)));
    names.sort();
    names.dedup();
    names.join("\n")
}

#[cfg(test)]
mod tests {
    use super::is_light;

    #[test]
    fn a_light_background_is_known_by_its_colour() {
        for light in ["0;15", "0;default;15", "15;7", "0;9"] {
            assert!(is_light(light), "{light}");
        }
        for dark in ["", "15;0", "7;8", "15;default;0", "0;default", "15", "0;231"] {
            assert!(!is_light(dark), "{dark}");
        }
    }
}
