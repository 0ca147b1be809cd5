//! Configuration: TOML into core's settings, strict, with every problem at once. Defaults < file < environment < flags.
//!
//! One table ([`fields::FIELDS`]) says what can be configured; the parser, `config print`, `config example` and the
//! hint for an unknown key all read it.

pub mod check;
pub mod failover;
pub mod fields;
pub mod silence;

use std::path::{Path, PathBuf};

use pilothouse_core::domain::settings::Settings;

pub use check::{Problem, check};

/// Where a setting's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(&'static str),
    Flag(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Settings with their origins and whatever was wrong on the way.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub settings: Settings,
    /// `section.key` -> origin, for what is not the default.
    pub origins: Vec<(String, Origin)>,
    pub problems: Vec<Problem>,
    /// The guards or the keys could not be read: the console must start read-only.
    pub unsafe_to_write: bool,
    pub path: PathBuf,
}

/// `$XDG_CONFIG_HOME/pilothouse/config.toml`.
pub fn default_path(home: &Home) -> PathBuf {
    home.config.join("config.toml")
}

/// The folders of this user.
#[derive(Clone, Debug)]
pub struct Home {
    pub config: PathBuf,
    pub state: PathBuf,
}

/// By the XDG base directories; None without a home.
pub fn home() -> Option<Home> {
    use etcetera::BaseStrategy;
    let xdg = etcetera::base_strategy::Xdg::new().ok()?;
    let state = xdg.state_dir()?;
    Some(Home { config: xdg.config_dir().join("pilothouse"), state: state.join("pilothouse") })
}

/// Loads the file at `path`. A file that is not there is fine unless the person named it.
pub fn load(path: &Path, named: bool) -> Loaded {
    let mut loaded = Loaded { path: path.to_owned(), ..Loaded::default() };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => return loaded,
        Err(e) => {
            loaded.unsafe_to_write = true;
            loaded.problems.push(Problem {
                path: path.to_owned(),
                line: None,
                what: format!("cannot be read: {e}"),
                hint: "name another file with --config, or leave it out for the defaults".into(),
            });
            return loaded;
        }
    };
    let checked = check(&text, path);
    loaded.settings = checked.settings;
    loaded.origins = checked.set.into_iter().map(|key| (key, Origin::File(path.to_owned()))).collect();
    loaded.unsafe_to_write = checked.unsafe_to_write;
    loaded.problems = checked.problems;
    loaded
}
