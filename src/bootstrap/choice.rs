//! Which clusters a command opens: the contexts that `--context` and the sets of the config (`[clusters]`) name.

use std::path::Path;

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::near::meant;
use pilothouse_core::domain::settings::{ClusterSet, ClusterSettings, glob};

use super::{Start, overrides};
use crate::wire::kubeconfig::{self, Overrides};

/// Whether a word names several contexts and not one.
pub(super) fn is_glob(word: &str) -> bool {
    word.contains(['*', '?'])
}

/// The contexts that can be named, and how.
struct Known<'a> {
    kubeconfig: Option<&'a Path>,
    overrides: &'a Overrides,
    sets: &'a [ClusterSet],
}

impl Known<'_> {
    /// Returns the contexts of the kubeconfig in the order of their names.
    fn contexts(&self) -> Result<Vec<String>, String> {
        let contexts = kubeconfig::contexts(self.kubeconfig).map_err(|e| e.to_string())?;
        Ok(contexts.into_iter().map(|context| context.name).collect())
    }

    /// Returns the context that a connection to `context` would use.
    fn name_of(&self, context: Option<&str>) -> Result<String, String> {
        kubeconfig::name_of(self.kubeconfig, context, self.overrides).map_err(|e| e.to_string())
    }

    /// Returns the contexts that these words name, each once: a context, a set of the config, or a glob. A word that is
    /// both a context and a set is the context, as for kubectl.
    fn named(&self, words: &[&str]) -> Result<Vec<String>, String> {
        let contexts = self.contexts()?;
        let mut names: Vec<String> = Vec::new();
        for word in words {
            for name in self.of_word(word, &contexts)? {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    fn of_word(&self, word: &str, contexts: &[String]) -> Result<Vec<String>, String> {
        if contexts.iter().any(|context| context == word) {
            return Ok(vec![word.to_owned()]);
        }
        if let Some(set) = self.sets.iter().find(|set| set.name == word) {
            let names = of_set(set, contexts);
            if names.is_empty() {
                let globs = set.contexts.join(", ");
                return Err(format!(
                    "clusters.{word} of the config: no context matches {globs}; {}",
                    list(contexts)
                ));
            }
            return Ok(names);
        }
        if is_glob(word) {
            let names = matching(word, contexts);
            if names.is_empty() {
                return Err(format!("no context matches {word:?}; {}", list(contexts)));
            }
            return Ok(names);
        }
        match self.name_of(Some(word)) {
            Ok(name) if name == word => Ok(vec![name]),
            Ok(name) => Err(format!("there is no context {word:?}; this pod has {name}")),
            Err(why) if self.sets.is_empty() => Err(why),
            Err(why) => {
                let sets: Vec<&str> = self.sets.iter().map(|set| set.name.as_str()).collect();
                let meant = meant(word, sets.iter().copied());
                Err(format!("{why}; the config has the sets {}{meant}", sets.join(", ")))
            }
        }
    }

    /// Returns the current context, followed by the contexts of the sets that are opened without being named.
    fn by_default(&self) -> Result<Vec<String>, String> {
        let opened: Vec<&ClusterSet> = self.sets.iter().filter(|set| set.open).collect();
        let current = self.name_of(None);
        if opened.is_empty() {
            return Ok(vec![current?]);
        }
        // a kubeconfig without a file has no contexts to open
        let contexts = self.contexts().unwrap_or_default();
        let mut names: Vec<String> = current.iter().cloned().collect();
        for name in opened.into_iter().flat_map(|set| of_set(set, &contexts)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() { current.map(|name| vec![name]) } else { Ok(names) }
    }
}

/// Returns the contexts that are opened if none is named.
fn by_default(known: &Known<'_>) -> Result<Vec<String>, String> {
    known.by_default()
}

/// Returns the contexts of a set: those of its first glob first.
fn of_set(set: &ClusterSet, contexts: &[String]) -> Vec<String> {
    set.contexts.iter().flat_map(|pattern| matching(pattern, contexts)).collect()
}

fn matching(pattern: &str, contexts: &[String]) -> Vec<String> {
    contexts.iter().filter(|context| glob(pattern, context)).cloned().collect()
}

/// Returns the failover plans that are for none of these contexts. Without a kubeconfig there is none to compare with.
fn idle_plans(plans: &[FailoverPlan], contexts: &[String]) -> Vec<String> {
    let is_for_none = |plan: &&FailoverPlan| {
        !plan.in_context.is_empty() && !contexts.iter().any(|context| plan.is_for(context, false))
    };
    let idle = plans.iter().filter(|_| !contexts.is_empty()).filter(is_for_none);
    idle.map(|plan| {
        let (name, wanted) = (&plan.name, &plan.in_context);
        if contexts.iter().any(|context| plan.names(context)) {
            return format!(
                "failover.{name}: in_context {wanted:?} matches only the plan's own standby, where it cannot begin"
            );
        }
        let meant = meant(wanted, contexts.iter().map(String::as_str));
        format!("failover.{name}: in_context {wanted:?} matches no context of the kubeconfig{meant}")
    })
    .collect()
}

/// Returns the first remark with the number of the others. One line is enough at each start, because a config that a
/// team shares names contexts that are not in each kubeconfig.
pub(super) fn in_short(remarks: &[String]) -> Option<String> {
    let first = remarks.first()?;
    Some(match remarks.len() {
        1 => first.clone(),
        n => format!("{first} (and {} more: pilothouse config check)", n - 1),
    })
}

fn list(contexts: &[String]) -> String {
    if contexts.is_empty() { "there is none".into() } else { format!("there are {}", contexts.join(", ")) }
}

/// Returns the first context that the flags name, for the dialer: the flags of one cluster apply to it. A word that names
/// no context is returned unchanged, and opening it reports the error. `None` stands for the current context.
pub(super) fn first(
    words: &[String],
    kubeconfig: Option<&Path>,
    overrides: &Overrides,
    sets: &[ClusterSet],
) -> Option<String> {
    let word = words.iter().find(|word| !word.is_empty())?;
    if !is_glob(word) && !sets.iter().any(|set| set.name == *word) {
        return Some(word.clone());
    }
    let known = Known { kubeconfig, overrides, sets };
    let names = known.named(&[word]).unwrap_or_default();
    Some(names.into_iter().next().unwrap_or_else(|| word.clone()))
}

impl Start {
    /// Returns the clusters that the console opens, the one in front first: those that `--context` names, or the current
    /// context and the sets with `open = true`. Nothing is connected, and no credential plugin runs.
    pub(crate) fn chosen(&self) -> Result<Vec<ClusterSettings>, String> {
        self.choose(by_default)
    }

    /// Returns the clusters that a command reads: those that `--context` names, or the current context, like kubectl. A
    /// demo has all of its clusters.
    pub(super) fn asked(&self) -> Result<Vec<ClusterSettings>, String> {
        self.choose(|known| known.name_of(None).map(|name| vec![name]))
    }

    fn choose(
        &self,
        by_default: impl FnOnce(&Known<'_>) -> Result<Vec<String>, String>,
    ) -> Result<Vec<ClusterSettings>, String> {
        let overrides = overrides(&self.global.access);
        let known = Known {
            kubeconfig: self.global.kubeconfig.as_deref(),
            overrides: &overrides,
            sets: &self.settings.clusters,
        };
        let words: Vec<&str> =
            self.global.context.iter().map(String::as_str).filter(|w| !w.is_empty()).collect();
        let names = match words.as_slice() {
            [] if self.is_demo() => {
                let current = known.name_of(None)?;
                let mut names = known.contexts()?;
                names.retain(|name| *name != current);
                names.insert(0, current);
                names
            }
            [] => by_default(&known)?,
            words => known.named(words)?,
        };
        let among = names.len();
        let settings = |(n, name): (usize, &String)| self.settings.of_cluster(name, n == 0).shared(among);
        Ok(names.iter().enumerate().map(settings).collect())
    }

    /// Returns what `--context` takes: the contexts of the kubeconfig and the sets of the config.
    pub(super) fn nameable(&self) -> Result<Vec<String>, String> {
        let contexts = kubeconfig::contexts(self.global.kubeconfig.as_deref()).map_err(|e| e.to_string())?;
        let sets = self.settings.clusters.iter().map(|set| set.name.clone());
        let mut names: Vec<String> = contexts.into_iter().map(|context| context.name).chain(sets).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Whether the command line names a context.
    pub(super) fn names_context(&self) -> bool {
        self.global.context.iter().any(|word| !word.is_empty())
    }

    /// Whether the kubeconfig has this context.
    pub(super) fn has(&self, context: &str) -> bool {
        let contexts = kubeconfig::contexts(self.global.kubeconfig.as_deref());
        contexts.is_ok_and(|contexts| contexts.iter().any(|known| known.name == context))
    }

    /// Returns the contexts of the kubeconfig, if it can be read.
    fn known(&self) -> Option<Vec<String>> {
        let contexts = kubeconfig::contexts(self.global.kubeconfig.as_deref()).ok()?;
        Some(contexts.into_iter().map(|context| context.name).collect())
    }

    /// Returns the sets of the config that have no context in this kubeconfig.
    fn empty_sets(&self) -> Vec<String> {
        let Some(contexts) = self.known() else { return Vec::new() };
        let is_empty = |set: &&ClusterSet| !contexts.iter().any(|context| set.has(context));
        let sets = self.settings.clusters.iter().filter(is_empty);
        sets.map(|set| format!("clusters.{}: no context matches {}", set.name, set.contexts.join(", ")))
            .collect()
    }

    /// Returns the failover plans of the config that are for no context of this kubeconfig.
    fn idle_plans(&self) -> Vec<String> {
        if self.is_demo() {
            // its contexts are not those of the kubeconfig
            return Vec::new();
        }
        // the settings of one cluster have only its own plans
        idle_plans(&self.loaded.settings.failover, &self.known().unwrap_or_default())
    }

    /// Returns what the config says that has no effect with this kubeconfig, and the default keys that it replaces.
    pub(super) fn remarks(&self) -> Vec<String> {
        [self.replaced(), self.empty_sets(), self.idle_plans()].concat()
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::failover::{FailoverKind, Pick, Standby};

    use super::*;

    const KUBECONFIG: &str = "
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
contexts: [{name: us-1, context: {cluster: c}}, {name: eu-2, context: {cluster: c}}, {name: eu-1, context: {cluster: c}}, {name: lab, context: {cluster: c}}]
current-context: us-1
";

    fn set(name: &str, contexts: &[&str], open: bool) -> ClusterSet {
        let contexts = contexts.iter().map(|&glob| glob.to_owned()).collect();
        ClusterSet { name: name.into(), contexts, open, ..ClusterSet::default() }
    }

    fn with(kubeconfig: &str, sets: &[ClusterSet], judge: impl FnOnce(&Known<'_>)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, kubeconfig).unwrap();
        judge(&Known { kubeconfig: Some(&path), overrides: &Overrides::default(), sets });
    }

    #[test]
    fn words_name_contexts_sets_and_globs_each_once() {
        let sets = [
            set("europe", &["eu-*"], false),
            set("all", &["us-*", "*"], false),
            set("lab", &["us-1"], false),
            set("asia", &["ap-*"], false),
        ];
        with(KUBECONFIG, &sets, |known| {
            for (words, names) in [
                (&["lab"][..], &["lab"][..]),
                (&["us-1", "eu-1", "us-1"], &["us-1", "eu-1"]),
                (&["europe"], &["eu-1", "eu-2"]),
                (&["eu-2", "europe"], &["eu-2", "eu-1"]),
                (&["all"], &["us-1", "eu-1", "eu-2", "lab"]),
                (&["EU-?"], &["eu-1", "eu-2"]),
                (&["*"], &["eu-1", "eu-2", "lab", "us-1"]),
            ] {
                assert_eq!(known.named(words).unwrap(), names, "{words:?}");
            }
            for (words, why) in [
                (&["us-2"][..], "there is no context \"us-2\"; it has eu-1, eu-2, lab, us-1; did you mean"),
                (&["us-1", "nowhere"], "; the config has the sets europe, all, lab, asia"),
                (&["eurpoe"], "; the config has the sets europe, all, lab, asia; did you mean europe?"),
                (
                    &["asia"],
                    "clusters.asia of the config: no context matches ap-*; there are eu-1, eu-2, lab, us-1",
                ),
                (&["*prod*"], "no context matches \"*prod*\"; there are eu-1, eu-2, lab, us-1"),
            ] {
                let told = known.named(words).unwrap_err();
                assert!(told.contains(why), "{words:?}: {told}");
            }
        });
    }

    #[test]
    fn without_words_the_current_context_comes_before_the_sets_that_are_open() {
        let none = KUBECONFIG.replace("current-context: us-1", "");
        let missing = KUBECONFIG.replace("current-context: us-1", "current-context: gone");
        let open =
            [set("asia", &["ap-*"], true), set("europe", &["eu-*"], true), set("us", &["us-*"], false)];
        for (kubeconfig, sets, names) in [
            (KUBECONFIG, &[][..], Some(&["us-1"][..])),
            (KUBECONFIG, &open, Some(&["us-1", "eu-1", "eu-2"])),
            (&none, &open, Some(&["eu-1", "eu-2"])),
            (&none, &open[..1], None),
            (&none, &[], None),
            (&missing, &[], None),
        ] {
            with(kubeconfig, sets, |known| {
                let chosen = known.by_default();
                assert_eq!(
                    chosen.as_deref().ok(),
                    names.map(|names| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).as_deref(),
                    "{chosen:?}"
                );
            });
        }
    }

    #[test]
    fn the_flags_of_one_cluster_are_for_the_first() {
        with(KUBECONFIG, &[set("europe", &["eu-*"], false)], |known| {
            let of = |words: &[&str]| {
                let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
                first(&words, known.kubeconfig, known.overrides, known.sets)
            };
            assert_eq!(of(&[]), None, "the current context");
            assert_eq!(of(&["", "lab"]).as_deref(), Some("lab"));
            assert_eq!(of(&["europe", "lab"]).as_deref(), Some("eu-1"));
            assert_eq!(of(&["nowhere-*"]).as_deref(), Some("nowhere-*"), "opening it tells what is wrong");
        });
    }

    #[test]
    fn a_plan_that_is_for_no_context_is_told() {
        let plan = |name: &str, in_context: &str| FailoverPlan {
            name: name.into(),
            kind: match name {
                "dr" | "loop" => FailoverKind::Standby(Standby {
                    context: "eu-1".into(),
                    workloads: Vec::new(),
                    shift: None,
                    scale_down: false,
                }),
                _ => FailoverKind::Evacuate(Pick::Zone("a".into())),
            },
            watched: None,
            soak_secs: 0,
            suggested: false,
            in_context: in_context.into(),
        };
        let plans = [
            plan("first", ""),
            plan("glob", "eu-*"),
            plan("typo", "eu-9"),
            plan("case", "EU-1"),
            plan("loop", "eu-*"),
            plan("dr", "us-*"),
        ];
        let told = idle_plans(&plans, &["eu-1".to_owned(), "us-1".to_owned()]);
        let (typo, case) = (
            "failover.typo: in_context \"eu-9\" matches no context of the kubeconfig",
            "failover.case: in_context \"EU-1\" matches no context of the kubeconfig",
        );
        let own =
            "failover.loop: in_context \"eu-*\" matches only the plan's own standby, where it cannot begin";
        let [a, b, c] = told.as_slice() else { panic!("{told:?}") };
        assert!(a.starts_with(typo) && b.starts_with(case) && c == own, "{told:?}");
        assert_eq!(idle_plans(&plans, &[]), [""; 0], "no kubeconfig is read, as in a pod");
    }

    #[test]
    fn several_remarks_are_one_line_at_the_start() {
        let remarks = |n: usize| (0..n).map(|i| format!("remark {i}")).collect::<Vec<_>>();
        assert_eq!(in_short(&remarks(0)), None);
        assert_eq!(in_short(&remarks(1)).unwrap(), "remark 0");
        assert_eq!(in_short(&remarks(4)).unwrap(), "remark 0 (and 3 more: pilothouse config check)");
    }
}
