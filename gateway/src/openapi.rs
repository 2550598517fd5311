//! The machine-readable contract, generated from the endpoints; `gateway/openapi.json` is held against it by a test.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, Header, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder,
        path::{Operation, PathItem},
        schema::{ObjectBuilder, Type},
    },
};

use crate::routes::{
    account, api_keys, audit, bans, characters, complaints, erasures, favourites, gateways, invites, links, me,
    mesh_breakers, mesh_view, openai, password, people, refresh, search, sessions, settings, sign_in, sign_out,
    sign_out_everywhere, sign_up, welcome,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Starling gateway",
        version = "1",
        description = "See API.md for the words around it and for the WebSocket."
    ),
    modifiers(&Everywhere),
    paths(
        welcome::post,
        sign_in::post,
        sign_out::post,
        sign_out_everywhere::post,
        refresh::post,
        me::get,
        account::show::get,
        account::devices::get,
        account::sign_out_device::delete,
        links::post,
        sign_up::terms::get,
        sign_up::ask::post,
        sign_up::resend::post,
        sign_up::confirm::post,
        password::forgot::post,
        password::reset::post,
        erasures::read::get,
        erasures::act::get,
        password::change::post,
        account::consents::get,
        account::second_factor::begin::post,
        account::second_factor::set::put,
        account::second_factor::show::post,
        account::second_factor::remove::post,
        account::export::get,
        account::delete::post,
        people::list::get,
        people::show::get,
        people::block::post,
        people::approve::post,
        people::roles::put,
        people::reset_link::post,
        people::remove_second_factor::delete,
        invites::list::get,
        invites::make::post,
        invites::revoke::post,
        settings::read::get,
        settings::write::put,
        settings::test_mail::post,
        bans::list::get,
        bans::put::post,
        bans::remove::delete,
        audit::list::get,
        audit::export::get,
        account::warnings::get,
        complaints::make::post,
        complaints::mine::get,
        complaints::list::get,
        complaints::show::get,
        complaints::take::post,
        complaints::decide::post,
        characters::list::list,
        characters::create::create,
        characters::import::import,
        characters::read::read,
        characters::change::change,
        characters::retire::retire,
        characters::avatar::get,
        characters::avatar_put::put,
        characters::export::export,
        characters::publish::publish,
        characters::withdraw::withdraw,
        characters::versions::list,
        characters::difference::get,
        characters::roll_back::roll_back,
        characters::trial::trial,
        sessions::list::list,
        sessions::create::create,
        sessions::read::read,
        sessions::change::change,
        sessions::messages::change::change,
        sessions::messages::choice::get,
        sessions::messages::another::post,
        sessions::messages::further::post,
        sessions::messages::edit::post,
        sessions::summaries::list::list,
        sessions::summaries::put::put,
        favourites::list::list,
        favourites::put::put,
        favourites::remove::remove,
        search::get,
        gateways::get,
        mesh_view::get,
        mesh_breakers::get,
        api_keys::list::get,
        api_keys::make::post,
        api_keys::revoke::delete,
        openai::models::get,
        openai::model::get,
        openai::chat::post,
        openai::completions::post,
        openai::embeddings::post,
    )
)]
struct Contract;

/// Refusals that [`crate::routes::router`] puts around each endpoint, whatever that endpoint says itself.
struct Everywhere;

/// Status, and when it comes.
const REFUSALS: [(&str, &str); 4] = [
    ("403", "The address is banned, or the request comes from another page"),
    ("421", "This node serves no people"),
    ("429", "Over the rate limit"),
    ("504", "Not managed in time"),
];

impl Modify for Everywhere {
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            let body = if path.starts_with(openai::ROOT) {
                "ProgramErrorBody"
            } else {
                "ErrorBody"
            };
            let has_parts = path.contains('{');
            for operation in operations(item) {
                let responses = &mut operation.responses.responses;
                // A part of a path that is no text.
                let malformed = has_parts.then_some(("400", "Not what this endpoint takes"));
                for (status, when) in REFUSALS.into_iter().chain(malformed) {
                    let refusal = || RefOr::T(refusal(body, when));
                    responses.entry(status.to_owned()).or_insert_with(refusal);
                }
                if let Some(RefOr::T(refused)) = responses.get_mut("429") {
                    refused.headers.insert("Retry-After".to_owned(), seconds());
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ];
    all.into_iter().flatten()
}

fn refusal(body: &str, when: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name(body)));
    let response = ResponseBuilder::new().description(when);
    response.content("application/json", content).build()
}

/// How long to wait.
fn seconds() -> RefOr<Header> {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)));
    header.description = Some("Seconds".to_owned());
    RefOr::T(header)
}

/// The contract as JSON text.
#[must_use]
pub fn document() -> String {
    // Plain data with string keys always serialises.
    let mut text = Contract::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_contract_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let generated = super::document();
        if std::env::var_os("STARLING_UPDATE").is_some() {
            std::fs::write(path, &generated).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == generated,
            "gateway/openapi.json is old: run STARLING_UPDATE=1 cargo test -p gateway"
        );
    }
}
