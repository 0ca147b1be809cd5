//! Themes: about thirty semantic roles, each with a parent as its fallback. Theme files are strict: an unknown role,
//! colour or key is refused, and the error names it.

mod color;

use std::collections::BTreeMap;

use pilothouse_core::domain::id::Name;
use ratatui::style::{Modifier, Style};
use serde::Deserialize;

pub use color::{Depth, parse as parse_color};

macro_rules! roles {
    ($($role:ident $name:literal $parent:expr;)*) => {
        /// The meaning of a piece of text; the theme decides its style.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum Role {
            #[default]
            $($role,)*
        }

        impl Role {
            /// All roles with their names in theme files and their fallbacks.
            pub const ALL: &'static [(Role, &'static str, Option<Role>)] = &[$((Role::$role, $name, $parent),)*];
        }
    };
}

roles! {
    Text "text" None;
    Dim "dim" Some(Role::Text);
    Strong "strong" Some(Role::Text);
    Title "title" Some(Role::Strong);
    TitleFocus "title-focus" Some(Role::Title);
    Border "border" Some(Role::Dim);
    BorderFocus "border-focus" Some(Role::Title);
    Head "head" Some(Role::Dim);
    Selected "selected" Some(Role::Strong);
    SelectedDim "selected-dim" Some(Role::Strong);
    Marked "marked" Some(Role::Strong);
    Critical "critical" Some(Role::Strong);
    Warning "warning" Some(Role::Strong);
    Info "info" Some(Role::Text);
    Ok "ok" Some(Role::Text);
    Stale "stale" Some(Role::Warning);
    Denied "denied" Some(Role::Warning);
    Key "key" Some(Role::Strong);
    KeyDanger "key-danger" Some(Role::Warning);
    KeyTitle "key-title" Some(Role::Dim);
    Context "context" Some(Role::Strong);
    ContextProtected "context-protected" Some(Role::Critical);
    ModeReadOnly "mode-read-only" Some(Role::Ok);
    ModeWrite "mode-write" Some(Role::Warning);
    ModeProtected "mode-protected" Some(Role::Critical);
    Input "input" Some(Role::Strong);
    Match "match" Some(Role::Marked);
    Dialog "dialog" Some(Role::BorderFocus);
    DialogDanger "dialog-danger" Some(Role::Critical);
    Job "job" Some(Role::Info);
    Note "note" Some(Role::Strong);
    Trend "trend" Some(Role::Info);
    Plot1 "plot-1" Some(Role::Info);
    Plot2 "plot-2" Some(Role::Ok);
    Plot3 "plot-3" Some(Role::Warning);
    Plot4 "plot-4" Some(Role::Strong);
    PlotRequest "plot-request" Some(Role::Dim);
    PlotLimit "plot-limit" Some(Role::Critical);
    LogTime "log-time" Some(Role::Dim);
    LogSource "log-source" Some(Role::Info);
    Cluster1 "cluster-1" Some(Role::Context);
    Cluster2 "cluster-2" Some(Role::Context);
    Cluster3 "cluster-3" Some(Role::Context);
    Cluster4 "cluster-4" Some(Role::Context);
    Cluster5 "cluster-5" Some(Role::Context);
    Cluster6 "cluster-6" Some(Role::Context);
    Cluster7 "cluster-7" Some(Role::Context);
    Cluster8 "cluster-8" Some(Role::Context);
}

/// The roles of the names of clusters.
pub const CLUSTERS: [Role; 8] = [
    Role::Cluster1,
    Role::Cluster2,
    Role::Cluster3,
    Role::Cluster4,
    Role::Cluster5,
    Role::Cluster6,
    Role::Cluster7,
    Role::Cluster8,
];

/// The role of the `nth` colour that the config has for clusters. They begin at the end, because clusters without such a
/// colour begin with the first role.
pub fn of_config(nth: usize) -> Option<Role> {
    CLUSTERS.iter().rev().nth(nth).copied()
}

/// A theme, ready to use.
#[derive(Clone, Debug)]
pub struct Theme {
    styles: Vec<Style>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
struct File {
    inherits: Option<String>,
    #[serde(default)]
    palette: BTreeMap<String, String>,
    #[serde(default)]
    roles: BTreeMap<String, Look>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
struct Look {
    fg: Option<String>,
    bg: Option<String>,
    bold: bool,
    dim: bool,
    underline: bool,
    reverse: bool,
}

/// The built-in themes.
pub const BUILT_IN: [(&str, &str); 3] = [
    ("default", include_str!("../../themes/default.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
];

impl Default for Theme {
    fn default() -> Self {
        Self { styles: vec![Style::default(); Role::ALL.len()] }
    }
}

impl Theme {
    /// A built-in theme.
    pub fn built_in(name: &str) -> Result<Self, String> {
        Self::load(name, &|_| None)
    }

    /// A theme by name: the user's own file (through `own`: name -> text) has precedence over the built-in one.
    pub fn load(name: &str, own: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut palette = BTreeMap::new();
        let mut roles = BTreeMap::new();
        let mut next = Some(name.to_owned());
        let mut seen: Vec<String> = Vec::new();
        while let Some(name) = next.take() {
            if seen.contains(&name) && BUILT_IN.iter().all(|(n, _)| *n != name) || seen.len() > 8 {
                return Err(format!("theme {name}: it inherits from itself ({})", seen.join(" -> ")));
            }
            // a file with the name of a built-in theme can inherit from that theme
            let text = own(&name).filter(|_| !seen.contains(&name));
            let text = match (&text, BUILT_IN.iter().find(|(n, _)| *n == name)) {
                (Some(text), _) => text.as_str(),
                (None, Some((_, text))) => text,
                (None, None) => return Err(format!("theme {name}: there is no such theme")),
            };
            let file: File = toml::from_str(text).map_err(|e| format!("theme {name}: {e}"))?;
            for (key, value) in file.palette {
                palette.entry(key).or_insert(value);
            }
            for (key, look) in file.roles {
                if !Role::ALL.iter().any(|(_, n, _)| *n == key) {
                    return Err(format!("theme {name}: there is no role `{key}`"));
                }
                roles.entry(key).or_insert(look);
            }
            seen.push(name);
            next = file.inherits;
        }
        Self::resolve(name, &palette, &roles)
    }

    fn resolve(
        name: &str,
        palette: &BTreeMap<String, String>,
        roles: &BTreeMap<String, Look>,
    ) -> Result<Self, String> {
        let mut styles = vec![Style::default(); Role::ALL.len()];
        for (i, (_, role_name, parent)) in Role::ALL.iter().enumerate() {
            let style = match (roles.get(*role_name), parent) {
                (Some(look), _) => {
                    look.style(palette).map_err(|e| format!("theme {name}: role `{role_name}`: {e}"))?
                }
                (None, Some(parent)) => styles.get(*parent as usize).copied().unwrap_or_default(),
                (None, None) => Style::default(),
            };
            if let Some(place) = styles.get_mut(i) {
                *place = style;
            }
        }
        Ok(Self { styles })
    }

    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        self.styles.get(role as usize).copied().unwrap_or_default()
    }

    /// The same theme with the colours that the config has for clusters.
    #[must_use]
    pub fn with_clusters(mut self, colours: &[Name]) -> Self {
        let own =
            colours.iter().enumerate().filter_map(|(n, text)| Some((of_config(n)?, parse_color(text)?)));
        for (role, colour) in own {
            if let Some(style) = self.styles.get_mut(role as usize) {
                *style = Style::default().fg(colour).add_modifier(Modifier::BOLD);
            }
        }
        self
    }

    /// The same theme for a terminal with fewer colours.
    pub fn reduced(mut self, depth: Depth) -> Self {
        for style in &mut self.styles {
            style.fg = style.fg.and_then(|c| depth.reduce(c));
            style.bg = style.bg.and_then(|c| depth.reduce(c));
        }
        self
    }
}

impl Look {
    fn style(&self, palette: &BTreeMap<String, String>) -> Result<Style, String> {
        let mut style = Style::default();
        let read = |text: &String| {
            let text = palette.get(text).unwrap_or(text);
            parse_color(text).ok_or_else(|| format!("`{text}` is not a colour"))
        };
        if let Some(fg) = &self.fg {
            style.fg = Some(read(fg)?);
        }
        if let Some(bg) = &self.bg {
            style.bg = Some(read(bg)?);
        }
        for (on, modifier) in [
            (self.bold, Modifier::BOLD),
            (self.dim, Modifier::DIM),
            (self.underline, Modifier::UNDERLINED),
            (self.reverse, Modifier::REVERSED),
        ] {
            if on {
                style = style.add_modifier(modifier);
            }
        }
        Ok(style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_themes_load_and_mono_has_no_colour() {
        for (name, _) in BUILT_IN {
            let theme = Theme::built_in(name).unwrap();
            if name == "mono" {
                assert!(theme.styles.iter().all(|s| s.fg.is_none() && s.bg.is_none()));
            }
        }
    }

    #[test]
    fn parents_come_before_children() {
        for (i, (role, _, parent)) in Role::ALL.iter().enumerate() {
            assert_eq!(*role as usize, i);
            assert!(parent.is_none_or(|p| (p as usize) < i));
        }
    }

    #[test]
    fn the_selected_row_shows_in_every_theme() {
        for (name, _) in BUILT_IN {
            let theme = Theme::built_in(name).unwrap();
            let style = theme.style(Role::Selected);
            assert!(style.bg.is_some() || style.add_modifier.contains(Modifier::REVERSED), "{name}");
        }
    }

    #[test]
    fn text_is_legible_on_its_ground() {
        for (name, ground) in [("default", "black"), ("light", "white")] {
            for depth in [Depth::True, Depth::Ansi256, Depth::Ansi16] {
                let theme = Theme::built_in(name).unwrap().reduced(depth);
                for (role, role_name, _) in Role::ALL {
                    let style = theme.style(*role);
                    let plain = if name == "light" { "black" } else { "white" };
                    let fg = style.fg.or_else(|| parse_color(plain)).unwrap();
                    let bg = style.bg.or_else(|| parse_color(ground)).unwrap();
                    let ratio = color::contrast(fg, bg);
                    assert!(ratio >= 3.0, "{name} {role_name}: contrast {ratio:.1}");
                }
            }
        }
    }

    #[test]
    fn strict() {
        let own = |text: &'static str| move |name: &str| (name == "x").then(|| text.to_owned());
        for (text, want) in [
            ("[roles]\nnope = {}", "no role `nope`"),
            ("[roles]\ntext = { fg = \"reddish\" }", "not a colour"),
            ("colour = 1", "colour"),
            ("inherits = \"x\"", "inherits from itself"),
            ("inherits = \"y\"", "no such theme"),
        ] {
            let error = Theme::load("x", &own(text)).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
        let theme = Theme::load("x", &own("inherits = \"default\"\n[palette]\nred = \"#ff0000\"\n")).unwrap();
        assert_eq!(theme.style(Role::Critical).fg, parse_color("#ff0000"));
    }
}
