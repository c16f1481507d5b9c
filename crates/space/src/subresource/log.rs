//! `pods/NAME/log`.

use futures::StreamExt;
use http_body::Frame;

use crate::core::Place;
use crate::logs::LogOptions;
use crate::query::Query;
use crate::server::Answer;
use crate::server::Call;
use crate::status::Status;

impl LogOptions {
    fn parse(query: &Query) -> Result<LogOptions, Status> {
        Ok(LogOptions {
            container: query.first("container").unwrap_or_default().to_owned(),
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            since_seconds: query.number("sinceSeconds")?,
            timestamps: query.flag("timestamps"),
            tail_lines: query.number("tailLines")?,
            limit_bytes: query.number("limitBytes")?,
        })
    }
}

/// Streams a pod's log from the node that runs it.
pub(super) async fn serve(call: &Call, place: &Place) -> Result<Answer, Status> {
    call.core
        .entry(&place.resource, &place.namespace, &place.name)?;
    let options = LogOptions::parse(&call.head.query)?;
    let Some(logs) = &call.core.pod_logs else {
        let message = format!(
            "pod {} runs nowhere: this space has no node, so there is no log",
            place.name
        );
        return Err(Status::bad_request(message));
    };
    let stream = logs.read(&place.namespace, &place.name, &options).await?;
    let stop = call.core.stop.clone();
    let stream = stream
        .map(|bytes| Ok(Frame::data(bytes)))
        .take_until(stop.cancelled_owned());
    Ok(Answer::stream("text/plain", stream))
}
