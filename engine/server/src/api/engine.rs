//! `EngineService`: what `baton doctor` asks.

use baton_proto::v1::{self, engine_service_server::EngineService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{partition::State, view::timestamp};

#[tonic::async_trait]
impl EngineService for Api {
    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        self.caller(request.metadata()).map_err(|refusal| self.refused(refusal))?;
        let engine = &self.engine;
        let readiness = engine.readiness();
        let partitions = engine.partitions().iter().enumerate().map(|(number, handle)| {
            let (state, figures) = (handle.state(), handle.figures());
            v1::PartitionStatus {
                partition: u32::try_from(number).unwrap_or_default(),
                state: state.name().into(),
                epoch: if let State::Leading { epoch } = state { epoch } else { 0 },
                log_position: figures.log_position,
                open_instances: figures.open_instances,
                detail: state.because(),
            }
        });
        let workers = engine.registry.live().into_iter().map(|worker| v1::WorkerStatus {
            worker: worker.worker,
            department: worker.department,
            build: worker.build,
            functions: worker.functions,
            last_seen: Some(timestamp(worker.seen_at)),
        });
        Ok(Response::new(v1::StatusResponse {
            engine: engine.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            ready: readiness.is_ok(),
            not_ready_because: readiness.err().unwrap_or_default(),
            partitions: partitions.collect(),
            workers: workers.collect(),
            unserved_functions: engine.unserved().into_iter().collect(),
            nats_version: engine.broker.server_version(),
            weaknesses: engine.weaknesses(),
        }))
    }
}
