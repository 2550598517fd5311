//! `GET /api/v1/erasures/{id}/act`: the act of destruction as a text to keep, in Russian and English, with the log of receipts.

use std::{fmt::Write as _, sync::Arc};

use axum::{extract::State, http::header, response::IntoResponse};

use super::find;
use crate::{
    app::App,
    error::{ApiError, ErrorBody},
    routes::Path,
};

#[utoipa::path(get, path = "/api/v1/erasures/{id}/act", params(("id" = String, Path)), responses(
    (status = 200, body = String, content_type = "text/plain"), (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<impl IntoResponse, ApiError> {
    let erasure = find(&app, &id).await?;
    let mut text = format!(
        "Акт об уничтожении персональных данных / Act of destruction of personal data\n\n\
         Номер / Number: {}\nПотребовано / Asked for (Unix ms): {}\nПодписал узел / Signed by node: {}\n\
         Предмет / Subject: учётная запись и всё, что ей принадлежит / an account and everything that belongs to it ({})\n\
         Способ / Method: ключи уничтожены, записи удалены, файлы переписаны / keys destroyed, records dropped, files rewritten\n\n\
         Журнал / Log:\n",
        erasure.id,
        erasure.erase.at.0,
        erasure.author,
        erasure.erase.target.subject()
    );
    for (node, receipt) in &erasure.receipts {
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "- {} ({node}): Unix ms {}, записей / records {}, ключей / keys {}",
            app.surroundings.name_of(node),
            receipt.at.0,
            receipt.envelopes,
            receipt.keys
        );
    }
    for view in app.surroundings.nodes() {
        if !erasure.receipts.contains_key(&view.node) {
            let _ = writeln!(text, "- {} ({}): ещё нет / not yet", view.name, view.node);
        }
    }
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"starling-erasure.txt\"",
        ),
    ];
    Ok((headers, text))
}
