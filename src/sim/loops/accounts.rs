//! Creates the service account `default` of every namespace, and creates it again if it is deleted.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::feed::{Feed, News};
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Object, Store, Write};

const MANAGER: &str = "kube-controller-manager";
const NAME: &str = "default";

#[derive(Debug)]
pub(super) struct Accounts {
    store: Store,
    namespaces: Feed,
    accounts: Feed,
}

impl Accounts {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            namespaces: Feed::new(store, Res::Namespaces),
            accounts: Feed::new(store, Res::ServiceAccounts),
        }
    }

    fn ensure(&self, namespace: &Object) {
        if namespace.is_terminating()
            || self.store.get(Res::ServiceAccounts, namespace.name(), NAME).is_some()
        {
            return;
        }
        let account = json!({"metadata": {"name": NAME, "namespace": namespace.name()}});
        // A namespace that is being deleted needs none.
        drop(self.store.create(Res::ServiceAccounts, account, &Write::by(MANAGER)));
    }
}

impl Part for Accounts {
    fn name(&self) -> &'static str {
        "service accounts"
    }

    fn step(&mut self, _: DateTime<Utc>) -> Option<DateTime<Utc>> {
        for news in self.namespaces.read() {
            if let News::Now(namespace, _) = news {
                self.ensure(&namespace);
            }
        }
        for news in self.accounts.read() {
            if let News::Gone(account) = news
                && account.name() == NAME
                && let Some(namespace) = self.store.get(Res::Namespaces, "", account.namespace())
            {
                self.ensure(&namespace);
            }
        }
        None
    }
}
