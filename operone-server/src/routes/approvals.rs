//! Calls that wait for a person: list them, decide them.

use axum::Json;
use axum::extract::State;
use operone_core::id::ApprovalId;
use operone_core::journal::ApprovalFilter;
use serde::Deserialize;

use crate::error::{ApiError, ApiResult, FieldError};
use crate::extract::{Body, Id, Params, Tenant};
use crate::limits;
use crate::parts::Parts;
use crate::wire::approvals::{ApprovalPage, ApprovalView, Decide};

/// The longest comment, in bytes.
const MAX_COMMENT: usize = 4096;

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    status: Wanted,
    after: Option<ApprovalId>,
    limit: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    #[default]
    Pending,
    All,
}

pub(super) async fn list(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(Which { status, after, limit }): Params<Which>,
) -> ApiResult<Json<ApprovalPage>> {
    let limit = limits::rows(limit, limits::PAGE);
    let filter = match status {
        Wanted::Pending => ApprovalFilter::pending(limit),
        Wanted::All => ApprovalFilter::all(limit),
    };
    let now = parts.services.clock.now();
    let approvals = parts.services.journal.approvals(&tenant, filter.with_after(after)).await?;
    let next =
        approvals.last().filter(|_| approvals.len() == limit).map(|approval| approval.new.id.to_string());
    let approvals = approvals.into_iter().map(|approval| ApprovalView::new(approval, now)).collect();
    Ok(Json(ApprovalPage { approvals, next }))
}

/// Decides, and lets the run go on.
pub(super) async fn decide(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(approval_id): Id<ApprovalId>,
    Body(body): Body<Decide>,
) -> ApiResult<Json<ApprovalView>> {
    if body.comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT) {
        let detail = format!("a comment has at most {MAX_COMMENT} bytes");
        return Err(ApiError::invalid(vec![FieldError::new("/comment", detail)]));
    }
    let approval = parts.services.journal.decide(&tenant, &approval_id, body.into()).await?;
    parts.doorbell.ring();
    Ok(Json(ApprovalView::new(approval, parts.services.clock.now())))
}
