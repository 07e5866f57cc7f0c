//! `KillService`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use baton_core::Timestamp;
use baton_policy::question::{Action, Principal};
use baton_proto::v1::{self, kill_service_server::KillService};
use futures::future::join_all;
use tonic::{Request, Response, Status};

use super::{Api, checked_reason};
use crate::{
    clock,
    error::Refusal,
    limits,
    partition::{self, Reply, State, halting::Held},
    switches::{self, Rearmed, Scope, Stopped, Switch},
    view::timestamp,
};

fn refusal(error: &switches::Error) -> Refusal {
    let text = error.to_string();
    match error {
        switches::Error::Unknown(_) => Refusal::UnknownSwitch(text),
        switches::Error::TooMany => Refusal::TooManySwitches(text),
        switches::Error::Unavailable(_) => Refusal::PartitionUnavailable(text),
    }
}

impl Api {
    async fn kill(
        &self,
        caller: &Principal,
        request: v1::KillRequest,
    ) -> Result<v1::KillSwitch, Refusal> {
        let began = Instant::now();
        let scope: Scope = request
            .scope
            .parse()
            .map_err(|error: switches::scope::NoScope| Refusal::Invalid(error.to_string()))?;
        checked_reason(&request.reason)?;
        self.allow(caller, Action::Kill, scope.resource())?;
        let by = self.name_of(caller);
        let drill = request.drill;
        let (at_ms, reason) = (clock::now().0, request.reason);
        let new =
            Switch { number: 0, scope, by, at_ms, reason, drill, stopped: None, rearmed: None };
        let switch = self.engine.switches.throw(new).await.map_err(|error| refusal(&error))?;
        let Switch { number, scope, by, .. } = &*switch;
        let stopped = if drill {
            tracing::info!(number, %scope, by, "A kill switch is rehearsed");
            self.rehearse(scope, began).await
        } else {
            tracing::warn!(number, %scope, by, "A kill switch was thrown");
            self.stop(&switch, began).await
        };
        tracing::info!(number, steps = stopped.steps, took_ms = stopped.took_ms, elsewhere = ?stopped.elsewhere, "Stopped");
        // It is thrown, whether or not that can be told.
        let told = self.engine.switches.tell_stopped(switch.number, stopped.clone()).await;
        let switch = told.unwrap_or_else(|error| {
            tracing::warn!(%error, number, "What a kill switch has stopped is not on record");
            Arc::new(Switch { stopped: Some(stopped), ..Switch::clone(&switch) })
        });
        Ok(self.show_switch(&switch).await)
    }

    async fn stop(&self, switch: &Switch, began: Instant) -> Stopped {
        self.tell_worker(&switch.scope).await;
        let (_, elsewhere) =
            self.ask_all(limits::STOP_WAIT, |reply| partition::Request::Switched { reply }).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let steps = self.held_by(switch.number).await.steps;
        Stopped { steps, took_ms, elsewhere }
    }

    async fn rehearse(&self, scope: &Scope, began: Instant) -> Stopped {
        let ask = |reply| partition::Request::WouldStop { scope: scope.clone(), reply };
        let (steps, elsewhere) = self.ask_all(limits::STOP_WAIT, ask).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Stopped { steps: steps.iter().sum(), took_ms, elsewhere }
    }

    /// Has a worker learn that it is stopped, or no longer.
    async fn tell_worker(&self, scope: &Scope) {
        let live = self.engine.registry.live();
        for worker in live.iter().filter(|live| scope.is_worker(&live.worker)) {
            self.engine.call_worker(&worker.department, &worker.worker).await;
        }
    }

    /// What the owners of all partitions say, and which of them say nothing.
    async fn ask_all<T>(
        &self,
        wait: Duration,
        request: impl Fn(Reply<T>) -> partition::Request,
    ) -> (Vec<T>, Vec<u32>) {
        let deadline = tokio::time::Instant::now() + wait;
        let asked = self.engine.partitions().iter().map(async |handle| {
            let answered = async {
                loop {
                    if let Ok(answer) = handle.ask(&request).await {
                        return Some(answer);
                    }
                    // Nobody here will lead it soon.
                    if let State::Standby { .. } | State::Broken { .. } = handle.state() {
                        return None;
                    }
                    tokio::time::sleep(limits::ASK_AGAIN).await;
                }
            };
            tokio::time::timeout_at(deadline, answered).await.ok().flatten()
        });
        let answers = join_all(asked).await;
        let missing = (0_u32..).zip(&answers).filter(|(_, answer)| answer.is_none());
        let missing = missing.map(|(partition, _)| partition).collect();
        (answers.into_iter().flatten().collect(), missing)
    }

    async fn held_by(&self, switch: u32) -> Held {
        let ask = |reply| partition::Request::Held { switch, reply };
        let (held, _) = self.ask_all(limits::STOP_WAIT, ask).await;
        held.into_iter().fold(Held::default(), |all, one| Held {
            steps: all.steps + one.steps,
            late: all.late + one.late,
        })
    }

    async fn rearm(
        &self,
        caller: &Principal,
        request: v1::RearmRequest,
    ) -> Result<v1::KillSwitch, Refusal> {
        checked_reason(&request.reason)?;
        self.engine.switches.refresh().await.map_err(|error| refusal(&error))?;
        let switch =
            self.engine.switches.expect_active(request.number).map_err(|error| refusal(&error))?;
        let own = "no service arms again what it has stopped";
        let facts = self.facts_of_author(caller, &switch.by, own)?;
        self.allow_knowing(caller, Action::Rearm, switch.scope.resource(), facts)?;
        let Held { steps: held, late } = self.held_by(switch.number).await;
        let (by, at_ms) = (self.name_of(caller), clock::now().0);
        let rearmed = Rearmed { by, at_ms, reason: request.reason, held, late };
        let switch = self
            .engine
            .switches
            .rearm(switch.number, rearmed)
            .await
            .map_err(|error| refusal(&error))?;
        tracing::warn!(number = switch.number, scope = %switch.scope, by = self.name_of(caller), "A kill switch was armed again");
        self.tell_worker(&switch.scope).await;
        self.ask_all(limits::STOP_WAIT, |reply| partition::Request::Switched { reply }).await;
        Ok(self.show_switch(&switch).await)
    }

    async fn list_switches(
        &self,
        caller: &Principal,
        all: bool,
    ) -> Result<v1::ListSwitchesResponse, Refusal> {
        self.engine.switches.refresh().await.map_err(|error| refusal(&error))?;
        let mut switches = Vec::new();
        for switch in self.engine.switches.all() {
            let wanted = all || switch.is_active();
            let may = || self.may(caller, Action::Kill, switch.scope.resource(), BTreeMap::new());
            if wanted && may() {
                switches.push(self.show_switch(&switch).await);
            }
        }
        Ok(v1::ListSwitchesResponse { switches })
    }

    async fn show_switch(&self, switch: &Switch) -> v1::KillSwitch {
        let Stopped { steps, took_ms, elsewhere } = switch.stopped.clone().unwrap_or_default();
        let held = match &switch.rearmed {
            Some(rearmed) => Held { steps: rearmed.held, late: rearmed.late },
            None if switch.drill => Held::default(),
            None => self.held_by(switch.number).await,
        };
        let rearmed = switch.rearmed.as_ref();
        v1::KillSwitch {
            number: switch.number,
            scope: switch.scope.to_string(),
            by: switch.by.clone(),
            at: Some(timestamp(Timestamp(switch.at_ms))),
            reason: switch.reason.clone(),
            drill: switch.drill,
            stopped: steps,
            stop_ms: took_ms,
            elsewhere,
            held: held.steps,
            late: held.late,
            rearmed_at: rearmed.map(|rearmed| timestamp(Timestamp(rearmed.at_ms))),
            rearmed_by: rearmed.map(|rearmed| rearmed.by.clone()).unwrap_or_default(),
            rearm_reason: rearmed.map(|rearmed| rearmed.reason.clone()).unwrap_or_default(),
        }
    }
}

#[tonic::async_trait]
impl KillService for Api {
    async fn kill(
        &self,
        request: Request<v1::KillRequest>,
    ) -> Result<Response<v1::KillSwitch>, Status> {
        let (metadata, _, request) = request.into_parts();
        let killed = async {
            let (api, caller) = (self.clone(), self.caller(&metadata)?);
            // It goes on when nobody waits for the answer any more.
            let killed = tokio::spawn(async move { Api::kill(&api, &caller, request).await });
            killed.await.map_err(|error| Refusal::Internal(error.to_string()))?
        };
        killed.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn rearm(
        &self,
        request: Request<v1::RearmRequest>,
    ) -> Result<Response<v1::KillSwitch>, Status> {
        let (metadata, _, request) = request.into_parts();
        let rearmed = async {
            let (api, caller) = (self.clone(), self.caller(&metadata)?);
            let rearmed = tokio::spawn(async move { Api::rearm(&api, &caller, request).await });
            rearmed.await.map_err(|error| Refusal::Internal(error.to_string()))?
        };
        rearmed.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }

    async fn list_switches(
        &self,
        request: Request<v1::ListSwitchesRequest>,
    ) -> Result<Response<v1::ListSwitchesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let listed =
            async { Api::list_switches(self, &self.caller(&metadata)?, request.all).await };
        listed.await.map(Response::new).map_err(|refusal| self.refused(refusal))
    }
}
