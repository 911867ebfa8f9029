//! The pages and what they load, compiled into the server: it needs no other file to be looked at. Strict headers, and an
//! ETag, so that a new version of the server is a new version of its pages.

use std::hash::{DefaultHasher, Hash, Hasher};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Bytes},
};

use crate::http::{error::ApiError, routes::Verb};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TYPES: &str = "text/plain; charset=utf-8";

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

macro_rules! pages {
    ($($path:literal $kind:ident $file:literal)+) => {
        const PAGES: &[(&str, &str, &[u8])] = &[$(($path, $kind, include_bytes!(concat!("assets/", $file)))),+];
    };
}

pages! {
    "/" HTML "chat.html"
    "/chat.css" CSS "chat.css"
    "/chat.js" SCRIPT "chat.js"
    "/chat/messages.css" CSS "chat/messages.css"
    "/chat/address.js" SCRIPT "chat/address.js"
    "/chat/company.js" SCRIPT "chat/company.js"
    "/chat/composer.js" SCRIPT "chat/composer.js"
    "/chat/controls.js" SCRIPT "chat/controls.js"
    "/chat/conversation.js" SCRIPT "chat/conversation.js"
    "/chat/drawers.js" SCRIPT "chat/drawers.js"
    "/chat/history.js" SCRIPT "chat/history.js"
    "/chat/messages.js" SCRIPT "chat/messages.js"
    "/chat/names.js" SCRIPT "chat/names.js"
    "/chat/panel.js" SCRIPT "chat/panel.js"
    "/chat/people.js" SCRIPT "chat/people.js"
    "/chat/receipts.js" SCRIPT "chat/receipts.js"
    "/chat/row.js" SCRIPT "chat/row.js"
    "/chat/sidebar.js" SCRIPT "chat/sidebar.js"
    "/chat/sightings.js" SCRIPT "chat/sightings.js"
    "/chat/welcome.js" SCRIPT "chat/welcome.js"
    "/client.js" SCRIPT "client.js"
    "/client.d.ts" TYPES "client.d.ts"
    "/favicon.svg" SVG "favicon.svg"
    "/dashboard" HTML "dashboard.html"
    "/dashboard.css" CSS "dashboard.css"
    "/dashboard.js" SCRIPT "dashboard.js"
    "/dashboard/board.css" CSS "dashboard/board.css"
    "/dashboard/api.js" SCRIPT "dashboard/api.js"
    "/dashboard/chaos.js" SCRIPT "dashboard/chaos.js"
    "/dashboard/connection.js" SCRIPT "dashboard/connection.js"
    "/dashboard/elements.js" SCRIPT "dashboard/elements.js"
    "/dashboard/feed.js" SCRIPT "dashboard/feed.js"
    "/dashboard/figures.js" SCRIPT "dashboard/figures.js"
    "/dashboard/plot.js" SCRIPT "dashboard/plot.js"
    "/dashboard/plots.js" SCRIPT "dashboard/plots.js"
    "/dashboard/rows.js" SCRIPT "dashboard/rows.js"
    "/dashboard/scale.js" SCRIPT "dashboard/scale.js"
    "/dashboard/tables.js" SCRIPT "dashboard/tables.js"
    "/dashboard/tiles.js" SCRIPT "dashboard/tiles.js"
}

/// Adds all pages to an app.
pub(super) fn configure(app: &mut web::ServiceConfig) {
    for &(path, kind, content) in PAGES {
        let tag = tag(content);
        let serve = move |request: HttpRequest| {
            let answer = answer(&request, path, kind, content, &tag);
            async { answer }
        };
        let other = |request: HttpRequest| async move {
            Err::<&'static str, _>(ApiError::method_not_allowed(request.method().as_str(), request.path(), "GET, HEAD"))
        };
        app.service(web::resource(path).route(Verb::Get.route().to(serve)).default_service(web::to(other)));
    }
}

fn answer(request: &HttpRequest, path: &str, kind: &str, content: &'static [u8], tag: &str) -> HttpResponse {
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let unchanged =
        known.is_some_and(|known| known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag));
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // Kept by browsers, and asked about each time.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::ETAG, tag));
    if matches!(path, "/client.js" | "/client.d.ts") {
        // Pages of other servers may import the client from here, and editors in a browser its types.
        response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    }
    if unchanged {
        return response.finish();
    }
    response.insert_header((header::CONTENT_TYPE, kind)).body(Bytes::from_static(content))
}

/// Changes with the content; the same in every run of one build.
fn tag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_a_page_names_is_served() {
        let paths: Vec<_> = PAGES.iter().map(|(path, ..)| *path).collect();
        for (page, kind, content) in PAGES.iter().filter(|(_, kind, _)| *kind == HTML) {
            let text = std::str::from_utf8(content).expect("pages are text");
            for attribute in ["src=\"", "href=\""] {
                for rest in text.split(attribute).skip(1) {
                    let named = rest.split('"').next().unwrap_or_default();
                    assert!(named.starts_with('#') || paths.contains(&named), "{page} ({kind}) names {named}");
                }
            }
        }
    }

    #[test]
    fn every_script_a_script_imports_is_served() {
        for (path, _, content) in PAGES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            let text = std::str::from_utf8(content).expect("scripts are text");
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let named = line.split('"').nth(1).expect("an import names a module");
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let named = match named.strip_prefix("./") {
                    Some(sibling) => format!("{folder}/{sibling}"),
                    None => named.replacen("../", "/", 1),
                };
                assert!(PAGES.iter().any(|(known, ..)| *known == named), "{path} imports {named}");
            }
        }
    }

    #[test]
    fn another_content_has_another_tag() {
        assert_ne!(tag(b"a"), tag(b"b"));
        assert_eq!(tag(b"a"), tag(b"a"));
    }
}
