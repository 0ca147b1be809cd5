//! The servers of a HAProxy as objects of actions. A server is read as a JSON object with its weight and its state, so
//! that the checks, the verification and the undo of a [`Change`] apply to it. It is changed by the commands of the
//! runtime API.
//!
//! The runtime API has no precondition: the fields are compared right before the command is sent, and read back after.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pilothouse_core::domain::haproxy::{HaproxySettings, STATE, ServerRef, ServerState, WEIGHT};
use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::plan::{Change, StepKind};
use pilothouse_core::domain::text::clean;
use serde_json::{Value, json};

use crate::wire::error::ApiError;
use crate::wire::haproxy::{Address, CommandError, Server, command, servers};
use crate::wire::write::WriteError;

/// The configured HAProxies, by name.
#[derive(Clone, Debug, Default)]
pub struct Proxies(BTreeMap<Name, Address>);

impl Proxies {
    pub fn new(settings: &[HaproxySettings]) -> Self {
        let address = |one: &HaproxySettings| match one.socket.as_str() {
            "" => Address::Tcp(one.address.clone()),
            path => Address::Socket(PathBuf::from(path)),
        };
        Self(settings.iter().map(|one| (one.name.clone(), address(one))).collect())
    }

    fn address(&self, server: &ServerRef) -> Result<&Address, ApiError> {
        let missing =
            || ApiError::Invalid { message: format!("[haproxy.{}] is not in the config", server.haproxy) };
        self.0.get(&server.haproxy).ok_or_else(missing)
    }

    /// Reads a server. Returns `None` if the backend has no such server.
    pub async fn get(&self, on: &ObjectRef) -> Result<Option<Value>, ApiError> {
        let server = server_of(on)?;
        let address = self.address(&server)?;
        let answer = command(address, &format!("show servers state {}", server.backend)).await;
        let answer = answer.map_err(|e| ApiError::Unreachable(format!("haproxy {}: {e}", server.haproxy)))?;
        let Some(all) = servers(&answer) else { return Err(refused(&server, &answer)) };
        let others = all.iter().filter(|s| s.name != *server.server && in_rotation(s)).count();
        let found = all.iter().find(|s| s.name == *server.server);
        Ok(found.map(|s| object(on, s, others, address)))
    }

    /// Asks whether the socket may change servers.
    pub async fn may_change(&self, on: &ObjectRef) -> Result<(), ApiError> {
        let server = server_of(on)?;
        let address = self.address(&server)?;
        let level = command(address, "show cli level").await;
        let level = level.map_err(|e| ApiError::Unreachable(format!("haproxy {}: {e}", server.haproxy)))?;
        match level.trim() {
            "admin" => Ok(()),
            level => Err(ApiError::Forbidden {
                message: format!(
                    "haproxy {}: {address} has level {}, and a server can be changed with level admin only (stats socket … level admin)",
                    server.haproxy,
                    clean(level)
                ),
            }),
        }
    }

    /// Sends a change once.
    pub async fn send(&self, on: &ObjectRef, line: &str) -> Result<(), WriteError> {
        // a command that is denied answers in words only, so the level is asked for first
        self.may_change(on).await.map_err(WriteError::Refused)?;
        let server = server_of(on).map_err(WriteError::Refused)?;
        let address = self.address(&server).map_err(WriteError::Refused)?;
        match command(address, line).await {
            // HAProxy ends each answer with an empty line
            Ok(answer) if answer.is_empty() => {
                let why =
                    format!("haproxy {}: {address} closed the connection without an answer", server.haproxy);
                Err(WriteError::Unknown(why))
            }
            Ok(answer) if answer.trim().is_empty() => Ok(()),
            Ok(answer) => Err(WriteError::Refused(refused(&server, &answer))),
            Err(CommandError::Unreachable(why)) => {
                Err(WriteError::Refused(ApiError::Unreachable(format!("haproxy {}: {why}", server.haproxy))))
            }
            Err(CommandError::Lost(why)) => {
                Err(WriteError::Unknown(format!("haproxy {}: {why}", server.haproxy)))
            }
        }
    }
}

fn server_of(on: &ObjectRef) -> Result<ServerRef, ApiError> {
    ServerRef::of(on).ok_or_else(|| ApiError::Invalid { message: format!("{on} is no server of a HAProxy") })
}

fn refused(server: &ServerRef, answer: &str) -> ApiError {
    let said = clean(answer.trim()).into_owned();
    ApiError::Invalid { message: format!("haproxy {}: {said}", server.haproxy) }
}

fn in_rotation(server: &Server) -> bool {
    server.is_up && !server.in_maintenance && !server.is_draining && server.weight > 0
}

fn object(on: &ObjectRef, server: &Server, others: usize, address: &Address) -> Value {
    let state = match (server.in_maintenance, server.is_draining) {
        (true, _) => ServerState::Maintenance,
        (false, true) => ServerState::Drain,
        (false, false) => ServerState::Ready,
    };
    let (weight, state) = (server.weight, state.as_str());
    json!({
        "metadata": { "uid": on.uid.to_string(), "resourceVersion": format!("{weight} {state}") },
        "spec": { "weight": weight, "state": state },
        "status": { "up": server.is_up, "others": others, "address": address.to_string() },
    })
}

/// Returns the command of a step. Returns an error if a step does something else to a server.
pub fn line(what: &StepKind, on: &ObjectRef) -> Result<String, String> {
    let other = || format!("a server of a HAProxy takes no step {what}");
    let StepKind::Change(Change { fields, .. }) = what else { return Err(other()) };
    let server = ServerRef::of(on).ok_or_else(other)?;
    let name = format!("{}/{}", server.backend, server.server);
    let commands: Option<Vec<String>> = fields
        .iter()
        .filter(|field| !field.is_guard())
        .map(|field| match field.pointer.as_str() {
            WEIGHT => Some(format!("set server {name} weight {}", field.to.as_u64()?)),
            STATE => {
                Some(format!("set server {name} state {}", ServerState::parse(field.to.as_str()?)?.as_str()))
            }
            _ => None,
        })
        .collect();
    commands.map(|lines| lines.join("; ")).filter(|line| !line.is_empty()).ok_or_else(other)
}
