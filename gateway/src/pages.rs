//! The embedded page. Without a built page the gateway says what to do.

use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;

use crate::{app::ServesNobody, error::ApiError};

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Page;

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Starling</title>\
<h1>The page is not built into this program</h1>\
<p>This node works, but its web page is missing. Run <code>./x run</code>, which builds the page and the program, \
or run <code>npm ci &amp;&amp; npm run build</code> in <code>gateway/web</code> and build the program again.</p>\
<h1 lang=\"ru\">Страница не встроена в эту программу</h1>\
<p lang=\"ru\">Узел работает, но его веб-страницы нет. Запустите <code>./x run</code>: он соберёт и страницу, и программу.</p></html>";

/// What a node that serves no people shows, in the words that are true of it.
pub(crate) fn serves_nobody(why: ServesNobody) -> String {
    let (english, russian) = match why {
        ServesNobody::NoMember => (
            "It is a member of its mesh no longer. What is stored here stays, but nothing new comes in or goes out. Open the page of \
             another node; whoever runs this one reads why with <code>starling members</code>.",
            "Он больше не состоит в своей сети. Всё сохранённое остаётся на нём, но ничего нового не приходит и не уходит. Откройте \
             страницу другого узла; почему так, владельцу скажет <code>starling members</code>.",
        ),
        ServesNobody::Storage => (
            "It keeps documents for the other nodes of its mesh. Open the page of one of those.",
            "Он хранит документы для других узлов своей сети. Откройте страницу одного из них.",
        ),
        ServesNobody::Worker => (
            "It answers questions for the other nodes of its mesh. Open the page of one of those.",
            "Он отвечает на вопросы других узлов своей сети. Откройте страницу одного из них.",
        ),
        ServesNobody::Other => (
            "It works for the other nodes of its mesh. Open the page of one of those.",
            "Он работает для других узлов своей сети. Откройте страницу одного из них.",
        ),
    };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Starling</title>\
         <h1>This node serves no people</h1><p>{english}</p>\
         <h1 lang=\"ru\">Этот узел не принимает людей</h1><p lang=\"ru\">{russian}</p></html>"
    )
}

/// Serves a file of the page; any other path outside the API is a route of the page itself.
pub(crate) async fn page(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") || path.starts_with("v1/") {
        return ApiError::NotFound.into_response();
    }
    if let Some(file) = Page::get(path).filter(|_| !path.is_empty()) {
        let kind = mime_guess::from_path(path).first_or_octet_stream().to_string();
        // Names under assets/ carry a hash of their content.
        let cache = if path.starts_with("assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        return (
            [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache.to_owned())],
            file.data,
        )
            .into_response();
    }
    // A missing file with an extension is a mistake, not a route.
    if path.rsplit('/').next().is_some_and(|name| name.contains('.')) {
        return ApiError::NotFound.into_response();
    }
    let html = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    match Page::get("index.html") {
        Some(index) => (html, index.data).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, html, NOT_BUILT).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_serves_nobody_says_what_it_does_instead() {
        for (why, english, russian) in [
            (ServesNobody::NoMember, "no longer", "больше не состоит"),
            (ServesNobody::Storage, "keeps documents", "хранит документы"),
            (ServesNobody::Worker, "answers questions", "отвечает на вопросы"),
            (ServesNobody::Other, "works for", "работает для"),
        ] {
            let page = serves_nobody(why);
            assert!(page.contains(english) && page.contains(russian), "{page}");
            assert_eq!(page.contains("answers questions"), why == ServesNobody::Worker);
        }
    }
}
