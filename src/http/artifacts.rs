//! The artifacts of a ticket as one list, and each by its id: an address that no rename changes.

use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::problem::Problem;
use super::routes::Asked;
use super::{answer, fields, files};
use crate::access::BehindArtifact;
use crate::model::{ArtifactId, Refusal};

/// Answers a request about what a ticket holds: `GET /v1/tickets/{ref}/artifacts`.
pub(super) async fn list(mut asked: Asked) -> Result<Response, Problem> {
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return Err(asked.wrong_method("GET, HEAD"));
    }
    let most = files::page_length(&asked)?;
    let behind = match fields::argument(asked.query.as_deref(), "after") {
        Some(text) => Some(parse(&text).ok_or_else(|| asked.bad_field())?),
        None => None,
    };
    let session = asked.session().await?;
    let found = session.artifacts(&asked.ticket, behind, most).await;
    let (artifacts, next) = found.map_err(|refusal| asked.refused(refusal))?;
    let items: Vec<Value> = artifacts
        .iter()
        .map(|one| {
            let name = one.path.names().last().map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
            json!({
                "id": one.id.to_string(),
                "name": name,
                "version": one.number,
                "state": one.state,
                "bytes": one.bytes,
                "sha256": one.sha256.map(hex::encode),
                "uploaded_by": one.uploaded_by,
                "received_at": one.received_at,
                "location": files::address(&asked.ticket, &one.path),
                "content": format!("/v1/artifacts/{}/content", one.id),
            })
        })
        .collect();
    let next = next.map(|at| format!("{}.{}", at.came, at.version));
    let response = answer::json(StatusCode::OK, &json!({ "items": items, "next": next }));
    Ok(match next {
        Some(next) => {
            let files = files::address(&asked.ticket, &crate::model::SharePath::ROOT);
            let base = files.strip_suffix("files/").unwrap_or_default();
            answer::with(response, header::LINK, format!("<{base}artifacts?limit={most}&after={next}>; rel=\"next\""))
        }
        None => response,
    })
}

fn parse(text: &str) -> Option<BehindArtifact> {
    let (came, version) = text.split_once('.')?;
    Some(BehindArtifact { came: came.parse().ok()?, version: version.parse().ok()? })
}

/// Answers a request about one artifact: `/v1/artifacts/{id}/content` and `/receipt`.
pub(super) async fn one(mut asked: Asked) -> Result<Response, Problem> {
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return Err(asked.wrong_method("GET, HEAD"));
    }
    // Where other addresses have the ticket, these have the id.
    let id = asked.ticket.parse::<ArtifactId>();
    let wants_receipt = asked.is_receipt;
    let session = asked.session().await?;
    let id = id.map_err(|_| asked.refused(Refusal::NoSuchFile))?;
    let found = session.path_of_artifact(id).await;
    let (ticket, path) = found.map_err(|refusal| asked.refused(refusal))?;
    let path = match wants_receipt {
        false => path,
        true => {
            let in_share = files::path_in_share(&session, &path);
            let names = files::receipt_of(in_share.names().to_vec());
            let receipt = names.and_then(|names| session.path_in(&ticket, names));
            receipt.map_err(|refusal| asked.refused(refusal))?
        }
    };
    files::content(&asked, &session, &path).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::VersionId;

    #[test]
    fn where_a_page_begins_is_a_time_and_a_version() {
        let version = VersionId::from_bytes([7; 16]);
        assert_eq!(parse(&format!("-1.{version}")), Some(BehindArtifact { came: -1, version }));
        for wrong in ["", "1", "1.x", &format!("x.{version}"), &format!("1.{version}.2")] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
