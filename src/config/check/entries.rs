//! The sections with entries of the user's own names, and the lists. An entry with a mistake is not used. The others are.

use pilothouse_core::domain::traffic::Policy;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::{GLOBS, Walk, nearest, texts};
use crate::config::failover::Wrong;
use crate::config::presets::{KEY, SECTION};
use crate::config::{clusters, failover, haproxy, presets, silence, slo};

/// A key with its place in the file.
type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// Returns the entries in the order of the file.
fn in_order<'t, 'a>(entries: &'t DeTable<'a>) -> Vec<(&'t Key<'a>, &'t Spanned<DeValue<'a>>)> {
    let mut ordered: Vec<_> = entries.iter().collect();
    ordered.sort_by_key(|(name, _)| name.span().start);
    ordered
}

impl Walk<'_> {
    /// A policy with a mistake is not used. The others are.
    pub(super) fn balancing(&mut self, name: &Key<'_>, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(services) = value.get_ref() else {
            let hint = "write [traffic.balancing] and \"NAMESPACE/SERVICE\" = \"round robin\"";
            self.problem(Some(value.span()), "traffic.balancing must be a section", hint.into());
            return;
        };
        self.sets("traffic.balancing".into(), &name.span());
        for (service, policy) in services {
            let key = service.get_ref().as_ref();
            if !key.contains('/') && !key.contains('*') {
                let what = format!("traffic.balancing: {key:?} must be NAMESPACE/SERVICE");
                self.problem(Some(service.span()), &what, GLOBS.into());
                continue;
            }
            let words = Policy::KNOWN.into_iter().map(Policy::as_str);
            let DeValue::String(text) = policy.get_ref() else {
                let what = format!("traffic.balancing.{key:?} must be a text in quotes");
                self.problem(Some(policy.span()), &what, nearest("", words));
                continue;
            };
            if let Some(policy) = Policy::parse(text) {
                self.out.settings.traffic.balancing.insert(key.to_owned(), policy);
            } else {
                let what = format!("traffic.balancing: {text:?} is no policy");
                self.problem(Some(policy.span()), &what, nearest(text, words));
            }
        }
    }

    pub(super) fn failover(&mut self, plans: &DeTable<'_>) {
        for (name, value) in in_order(plans) {
            match failover::read(name.get_ref(), value) {
                Ok(plan) => {
                    self.sets(format!("failover.{}", plan.name), &name.span());
                    self.out.settings.failover.push(plan);
                }
                Err(wrong) => self.wrong(wrong),
            }
        }
    }

    pub(super) fn objectives(&mut self, entries: &DeTable<'_>) {
        for (name, value) in in_order(entries) {
            match slo::read(name, value) {
                Ok(objectives) => {
                    self.sets(format!("slo.{}", name.get_ref()), &name.span());
                    self.out.settings.prometheus.objectives.extend(objectives);
                }
                Err(wrong) => self.wrong(wrong),
            }
        }
    }

    pub(super) fn haproxies(&mut self, entries: &DeTable<'_>) {
        for (name, value) in in_order(entries) {
            match haproxy::read(name.get_ref(), value) {
                Ok(one) => {
                    self.sets(format!("haproxy.{}", one.name), &name.span());
                    self.out.settings.prometheus.proxies.extend(one.backends.clone());
                    self.out.settings.haproxy.push(one);
                }
                Err(wrong) => self.wrong(wrong),
            }
        }
    }

    /// A set can be protected or read-only, so a mistake in one makes the console read-only.
    pub(super) fn clusters(&mut self, sets: &DeValue<'_>, spanned: &Spanned<DeValue<'_>>) {
        let DeValue::Table(sets) = sets else {
            let hint = "write [clusters.NAME]".into();
            self.problem(Some(spanned.span()), "clusters must be a section", hint);
            self.out.unsafe_to_write = true;
            return;
        };
        for (name, value) in in_order(sets) {
            match clusters::read(name, value) {
                Ok(set) => {
                    self.sets(format!("clusters.{}", set.name), &name.span());
                    self.out.settings.clusters.push(set);
                }
                Err(wrong) => {
                    self.wrong(wrong);
                    self.out.unsafe_to_write = true;
                }
            }
        }
    }

    pub(super) fn presets(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(entries) = value.get_ref() else {
            let hint = format!("write [{SECTION}.{KEY}.NAME]");
            self.problem(Some(value.span()), &format!("{SECTION}.{KEY} must be a section"), hint);
            return;
        };
        for (name, value) in in_order(entries) {
            match presets::read(name.get_ref(), value) {
                Ok(preset) => {
                    self.sets(format!("{SECTION}.{KEY}.{}", preset.name), &name.span());
                    self.out.settings.prometheus.own_presets.push(preset);
                }
                Err(wrong) => self.wrong(wrong),
            }
        }
    }

    pub(super) fn silences(&mut self, list: &DeValue<'_>, spanned: &Spanned<DeValue<'_>>) {
        let entries: Vec<&Spanned<DeValue<'_>>> = match list {
            DeValue::Array(entries) => entries.iter().collect(),
            _ => Vec::new(),
        };
        if !matches!(list, DeValue::Array(_)) {
            self.problem(
                Some(spanned.span()),
                "silence must be a list of sections",
                "write [[silence]]".into(),
            );
        }
        for (n, entry) in entries.into_iter().enumerate() {
            match silence::read(entry) {
                Ok(silence) => {
                    self.sets(format!("silence.{}", n + 1), &entry.span());
                    self.out.settings.silences.push(silence);
                }
                Err(wrong) => self.wrong(wrong),
            }
        }
    }

    pub(super) fn keys(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(bindings) = value.get_ref() else {
            self.problem(Some(value.span()), "ui.keys must be a section", "write [ui.keys]".into());
            self.out.unsafe_to_write = true;
            return;
        };
        for (command, value) in bindings {
            if let Some(keys) = texts(value.get_ref()) {
                self.sets(format!("ui.keys.{}", command.get_ref()), &command.span());
                self.out.settings.ui.keys.insert(command.get_ref().to_string(), keys);
            } else {
                self.problem(
                    Some(value.span()),
                    &format!("ui.keys.{} must be a list of keys", command.get_ref()),
                    "for example [\"z\", \"ctrl-w\"]".into(),
                );
                self.out.unsafe_to_write = true;
            }
        }
    }

    fn wrong(&mut self, wrong: Vec<Wrong>) {
        for w in wrong {
            self.problem(Some(w.span), &w.what, w.hint);
        }
    }
}
