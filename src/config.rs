//! Reads the config file (TOML) into [`Settings`], refuses unknown keys, and reports all problems at once.
//! The environment overrides the file, and flags override the environment.
//!
//! One table ([`fields::fields`]) lists the settings. The parser, `config print`, `config example` and the hint for an
//! unknown key all use it.

pub mod check;
pub mod clusters;
pub mod failover;
pub mod fields;
pub mod haproxy;
pub mod presets;
pub mod silence;
pub mod slo;

use std::path::{Path, PathBuf};

use pilothouse_core::domain::settings::Settings;

pub use check::{Problem, check};

/// Where a setting's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    /// A variable's name.
    Environment(String),
    Flag(String),
    /// Set because the file has problems.
    Problems,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(name) => f.write_str(name),
            Self::Problems => f.write_str("because the guards or the keys of the file could not be read"),
        }
    }
}

/// Settings with their origins and the problems of the file.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub settings: Settings,
    /// `section.key` -> origin, for each setting that is not the default.
    pub origins: Vec<(String, Origin)>,
    pub problems: Vec<Problem>,
    /// The guards or the keys could not be read: the console must start read-only.
    pub unsafe_to_write: bool,
    pub path: PathBuf,
    /// The line of each key that the file sets.
    lines: Vec<(String, usize)>,
}

impl Loaded {
    /// True if this key's value comes from the file, not from the environment or a flag.
    pub fn is_of_file(&self, key: &str) -> bool {
        let origin = self.origins.iter().rev().find(|(k, _)| k == key);
        matches!(origin, Some((_, Origin::File(_))))
    }

    /// Adds a problem that only the code that uses the setting can find, for example about a key binding or a theme.
    pub fn report(&mut self, key: &str, what: &str, hint: &str) {
        let line = self.lines.iter().find(|(k, _)| k == key).map(|(_, line)| *line);
        let problem =
            Problem { path: self.path.clone(), line, what: format!("{key}: {what}"), hint: hint.to_owned() };
        let after = self.problems.partition_point(|p| p.line <= line);
        self.problems.insert(after, problem);
    }
}

/// Returns `$XDG_CONFIG_HOME/pilothouse/config.toml`, or `None` without a home directory.
pub fn default_path(home: &Home) -> Option<PathBuf> {
    Some(home.config.as_ref()?.join("config.toml"))
}

/// The folders of this user, each `None` if no home directory and no variable names it. A shared folder such
/// as /tmp is never used instead, because another user could put a config there or take over our journal.
#[derive(Clone, Debug, Default)]
pub struct Home {
    pub config: Option<PathBuf>,
    pub state: Option<PathBuf>,
    /// The folder below which the user saves files. A demo has a state of its own, which is removed at its end, but
    /// what the user saved stays.
    pub saved: Option<PathBuf>,
    /// The home directory, for writing paths with `~`.
    pub user: Option<PathBuf>,
}

/// The folders according to the XDG base directory specification.
pub fn home() -> Home {
    let home = etcetera::home_dir().ok().filter(|home| home.is_absolute());
    folders(home.as_deref(), |name| std::env::var_os(name))
}

fn folders(home: Option<&Path>, var: impl Fn(&str) -> Option<std::ffi::OsString>) -> Home {
    let folder = |name: &str, default: &str| {
        // a relative path counts as not set, as XDG says
        let named = var(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Some(named.or_else(|| Some(home?.join(default)))?.join("pilothouse"))
    };
    let state = folder("XDG_STATE_HOME", ".local/state");
    Home {
        config: folder("XDG_CONFIG_HOME", ".config"),
        saved: state.clone(),
        state,
        user: home.map(Path::to_owned),
    }
}

/// Loads the file at `path`. A missing file is an error only if the user named it.
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
                hint: "name another file with --config, or omit --config to use the defaults".into(),
            });
            return loaded;
        }
    };
    let checked = check(&text, path);
    loaded.settings = checked.settings;
    let of_file = |(key, _): &(String, usize)| (key.clone(), Origin::File(path.to_owned()));
    loaded.origins = checked.set.iter().map(of_file).collect();
    loaded.lines = checked.set;
    loaded.unsafe_to_write = checked.unsafe_to_write;
    loaded.problems = checked.problems;
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_home_directory_only_the_environment_names_folders() {
        let of = |home: Option<&str>, named: Option<&str>| {
            folders(home.map(Path::new), |name| (name == "XDG_STATE_HOME").then(|| named.map(Into::into))?)
        };
        let path = |home: &Home| (home.config.clone(), home.state.clone());
        let some = |path: &str| Some(PathBuf::from(path));
        assert_eq!(path(&of(None, None)), (None, None));
        assert_eq!(path(&of(None, Some("/s"))), (None, some("/s/pilothouse")));
        assert_eq!(path(&of(None, Some("s"))), (None, None), "relative");
        let home = (some("/h/.config/pilothouse"), some("/h/.local/state/pilothouse"));
        assert_eq!(path(&of(Some("/h"), None)), home);
    }
}
