//! What the commands of the ticket desk answer programs.

use super::Book;
use crate::support::server::House;

/// What is changed, ended and removed at the desk.
pub(super) fn ask(book: &mut Book, house: &House) {
    for args in [
        &["organisation", "add", "beta", "--name", "Beta", "--level", "gold", "--until", "2999-12-31"][..],
        &["organisation", "edit", "beta", "--contract", "C-7", "--until", ""],
        &["organisation", "show", "beta"],
        &["organisation", "disable", "beta"],
        &["organisation", "enable", "beta"],
        &["engineer", "add", "dora", "--email", "dora@support.example"],
        &["engineer", "edit", "dora", "--name", "Dora", "--role", "lead"],
        &["engineer", "away", "dora", "--from", "2999-12-24", "--to", "2999-12-26", "--deputy", "bob"],
        &["engineer", "show", "dora"],
        &["engineer", "away", "dora", "--end"],
    ] {
        book.ask(house, args);
    }
    let args = ["ticket", "open", "XT-3", "--organisation", "beta", "--engineer", "dora", "--kind", "rma"];
    book.ask_secret(house, &args);
    let args = ["ticket", "token", "add", "XT-3", "--label", "laptop", "--upload-only", "--until", "2999-12-31"];
    let made = book.ask_secret(house, &args);
    book.ask(house, &["ticket", "token", "list", "XT-3"]);
    book.ask(house, &["ticket", "token", "end", "XT-3", made["token_made"]["id"].as_str().unwrap()]);
    let edit = ["ticket", "edit", "XT-3", "--title", "A title", "--priority", "1", "--status", "waiting"];
    book.ask(house, &edit);
    book.ask(house, &["ticket", "show", "XT-3"]);
    book.ask(house, &["engineer", "disable", "dora", "--hand-over-to", "bob"]);
    book.ask(house, &["engineer", "enable", "dora"]);
    book.ask(house, &["engineer", "remove", "dora"]);
    book.ask(house, &["organisation", "add", "gamma", "--name", "Gamma"]);
    book.ask(house, &["organisation", "remove", "gamma"]);
    people(book, house);
    let args = ["ticket", "open", "RT/4711", "--organisation", "beta", "--engineer", "bob"];
    book.ask_secret(house, &args);
    for args in [
        &["ticket", "edit", "rt-4711", "--shown", "RT #4711"][..],
        &["usage", "RT/4711"],
        &["usage", "--organisation", "beta", "--status", "open", "--limit", "5"],
        // Who is still on the way out is a matter of moments.
        &["who", "--name", "nobody"],
    ] {
        book.ask(house, args);
    }
}

/// Contacts and teams.
fn people(book: &mut Book, house: &House) {
    let key = house.key("karl").0.with_extension("pub");
    let key = key.to_str().unwrap();
    for args in [
        &["contact", "add", "karl", "--organisation", "beta", "--email", "karl@beta.example"][..],
        &["contact", "edit", "karl", "--name", "Karl"],
        &["contact", "key", "add", "karl", key],
        &["contact", "show", "karl"],
        &["contact", "list"],
        &["contact", "key", "remove", "karl", key],
        &["contact", "disable", "karl"],
        &["contact", "enable", "karl"],
        &["contact", "password", "karl", "--remove"],
        &["contact", "remove", "karl"],
        &["team", "add", "core", "--member", "bob"],
        &["team", "edit", "core", "--name", "Core"],
        &["team", "show", "core"],
        &["team", "list"],
        &["team", "remove", "core"],
    ] {
        book.ask(house, args);
    }
}
