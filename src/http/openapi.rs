//! `GET /v1/openapi.json`: the API described for programs (OpenAPI 3.1).
//!
//! Written by hand and compiled in: deriving it would put a macro on every type of the API and still leave the prose to
//! write. The tests hold it against the table of routes in both directions.

use actix_web::HttpResponse;

/// The document.
const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::http::{auth::Access, routes::ROUTES};

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("the document is json")
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = document();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().expect("operations").keys().map(move |verb| (path.clone(), verb.clone()))
            })
            .collect();
        let served: BTreeSet<(String, String)> = ROUTES
            .iter()
            .flat_map(|entry| {
                entry.methods.iter().map(|(verb, _)| (entry.path.to_owned(), verb.name().to_ascii_lowercase()))
            })
            .collect();
        assert_eq!(described, served);
    }

    #[test]
    fn what_needs_no_key_is_described_so() {
        let document = document();
        for entry in ROUTES {
            for (verb, _) in entry.methods {
                let operation = &document["paths"][entry.path][verb.name().to_ascii_lowercase()];
                assert_eq!(operation.get("security").is_some(), entry.access == Access::Public, "{}", entry.path);
            }
        }
    }

    #[test]
    fn the_document_has_the_version_of_the_server() {
        assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let places = DOCUMENT.split("\"$ref\": \"#").skip(1).filter_map(|rest| rest.split('"').next());
        for place in places {
            assert!(document.pointer(place).is_some(), "{place}");
        }
    }
}
