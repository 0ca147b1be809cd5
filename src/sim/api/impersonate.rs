//! Impersonation: the headers that kubectl sends for `--as` and `--as-group`.

use axum::http::HeaderMap;
use axum::response::Response;

use super::{Api, refusal, reply};
use crate::access::{Persona, Wish};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";

impl Api {
    /// The user that a request impersonates; `None` if there is none. The error is the answer.
    pub(super) fn impersonate(
        &self,
        caller: &Persona,
        headers: &HeaderMap,
        uri: &str,
    ) -> Result<Option<Persona>, Box<Response>> {
        let text = |name: &str| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            values.filter(|value| !value.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let (users, groups) = (text(USER), text(GROUP));
        let Some(user) = users.first() else {
            if groups.is_empty() {
                return Ok(None);
            }
            let why = format!("requested {groups:?} without impersonating a user");
            return Err(Box::new(reply::plain(500, &format!("Internal Server Error: {uri:?}: {why}\n"))));
        };
        let wanted = std::iter::once(("users", user)).chain(groups.iter().map(|group| ("groups", group)));
        for (resource, name) in wanted {
            let wish = Wish { verb: "impersonate", resource, ..Wish::default() };
            if !caller.may(&wish) {
                return Err(Box::new(reply::status(&refusal(&caller.user, &wish, resource, name))));
            }
        }
        Ok(Some(self.access.acting(user, &groups)))
    }
}
