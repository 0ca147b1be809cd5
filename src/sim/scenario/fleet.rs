//! Fleets: several clusters that are simulated at the same time. A fleet is a TOML file with `[[cluster]]`, each with a
//! name and a scenario.

use std::path::Path;

use serde::Deserialize;

use super::{BUILT_IN, Bad, Scenario, is_file};

/// The name of a cluster that is alone.
pub const ALONE: &str = "demo";

/// The fleets that come with the program, by name.
const FLEETS: &[(&str, &str)] = &[("fleet", include_str!("../scenarios/fleet.toml"))];

/// One cluster of a fleet. Its name is that of its context.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub name: String,
    pub scenario: Scenario,
}

/// Clusters, and what a console should know about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// The first one is the current context.
    pub members: Vec<Member>,
    /// Sections of a config file.
    pub config: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    #[serde(rename = "about", default)]
    _about: String,
    #[serde(default)]
    config: String,
    cluster: Vec<Cluster>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    name: String,
    scenario: String,
}

/// Name and title of every built-in fleet.
pub fn names() -> Vec<(&'static str, String)> {
    FLEETS.iter().filter_map(|(name, text)| Some((*name, toml::from_str::<File>(text).ok()?.title))).collect()
}

/// Whether the text is a fleet and not a scenario.
fn is_fleet(text: &str) -> bool {
    toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key("cluster"))
}

impl Fleet {
    /// A fleet by its name or the path of its file; a scenario is a fleet of one cluster.
    pub fn load(name: &str) -> Result<Self, Bad> {
        if let Some((_, text)) = FLEETS.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        if is_file(name) && BUILT_IN.iter().all(|(known, _)| *known != name) {
            let text = std::fs::read_to_string(name).map_err(|e| Bad::Unreadable(name.into(), e))?;
            if is_fleet(&text) {
                return Self::parse(name, &text);
            }
        }
        let member = Member { name: ALONE.into(), scenario: Scenario::load(name)? };
        Ok(Self { members: vec![member], config: String::new() })
    }

    /// Parses a fleet; `name` is its name in errors. A scenario is a built-in one, or a file beside this one.
    pub fn parse(name: &str, text: &str) -> Result<Self, Bad> {
        let file: File = toml::from_str(text).map_err(|e| Bad::Syntax(name.into(), Box::new(e)))?;
        let wrong = |what: String| Err(Bad::Wrong(name.into(), what));
        if file.cluster.is_empty() {
            return wrong("it has no [[cluster]]".into());
        }
        let folder = Path::new(name).parent().filter(|_| is_file(name));
        let mut members: Vec<Member> = Vec::new();
        for Cluster { name: cluster, scenario } in file.cluster {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if cluster.is_empty() || !cluster.chars().all(plain) {
                return wrong(format!("cluster {cluster:?}: a name has a-z, 0-9 and -"));
            }
            if members.iter().any(|member| member.name == cluster) {
                return wrong(format!("there are two clusters {cluster:?}"));
            }
            let beside = folder.filter(|_| is_file(&scenario)).map(|folder| folder.join(&scenario));
            let scenario = match beside.as_deref().map(Path::to_str) {
                Some(Some(path)) => Scenario::load(path)?,
                _ => Scenario::load(&scenario)?,
            };
            members.push(Member { name: cluster, scenario });
        }
        Ok(Self { members, config: file.config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_has_clusters_and_a_scenario_is_a_fleet_of_one() {
        for (name, _) in names() {
            let fleet = Fleet::load(name).unwrap_or_else(|e| panic!("{e}"));
            assert!(fleet.members.len() > 1, "{name}");
        }
        let calm = Fleet::load("calm").unwrap();
        assert_eq!((calm.members.len(), calm.members[0].name.as_str()), (1, ALONE));
        assert_eq!(calm.members[0].scenario, Scenario::load("calm").unwrap());
        assert!(Scenario::load("fleet").is_err(), "it is no single cluster");
    }

    #[test]
    fn a_file_names_scenarios_beside_it() {
        let folder = std::env::temp_dir().join(format!("pilothouse-fleet-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        std::fs::write(path("one.toml"), "title = 'one'\nextends = 'bare'\n").unwrap();
        let cluster =
            |name: &str, scenario: &str| format!("[[cluster]]\nname = '{name}'\nscenario = '{scenario}'\n");
        let text = format!("title = 'mine'\n{}{}", cluster("a", "one.toml"), cluster("b", "calm"));
        std::fs::write(path("fleet.toml"), text).unwrap();
        let fleet = Fleet::load(&path("fleet.toml")).unwrap();
        let titles: Vec<_> =
            fleet.members.iter().map(|m| (m.name.as_str(), m.scenario.title.as_str())).collect();
        assert_eq!(titles, [("a", "one"), ("b", "calm: nothing is wrong")]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn mistakes_are_told() {
        let said = |clusters: &str| {
            Fleet::parse("mine", &format!("title = 'x'\n{clusters}")).unwrap_err().to_string()
        };
        for (clusters, words) in [
            ("cluster = []", "mine: it has no [[cluster]]"),
            (
                "cluster = [{ name = 'A', scenario = 'calm' }]",
                "mine: cluster \"A\": a name has a-z, 0-9 and -",
            ),
            (
                "cluster = [{ name = 'a', scenario = 'calm' }, { name = 'a', scenario = 'calm' }]",
                "mine: there are two clusters \"a\"",
            ),
            ("cluster = [{ name = 'a', scenario = 'nothing' }]", "there is no scenario \"nothing\""),
            ("cluster = [{ name = 'a' }]", "mine: TOML parse error"),
        ] {
            assert!(said(clusters).starts_with(words), "{}", said(clusters));
        }
    }
}
