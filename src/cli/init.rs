//! `tacdrop init`: a house begins where keys lie already. Where nothing lies, the first command or
//! server begins it by itself.

use std::path::Path;

use serde::Serialize;

use super::Desk;
use super::failure::Failure;
use crate::app::App;
use crate::server;

#[derive(Serialize)]
struct Begun<'a> {
    directory: &'a Path,
    house: String,
}

pub(crate) fn run(desk: &Desk) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = App::init(desk.data.clone(), server::share_settings(&desk.config)).await?;
        let house = app.house_id().await;
        app.close().await;
        let house = house?.map(|house| house.to_string()).unwrap_or_default();
        let directory = desk.data.root();
        desk.output.answer(&Begun { directory, house: house.clone() }, || {
            format!(
                "{} is a data directory now, for the house {house}. To begin: tacdrop organisation add",
                directory.display()
            )
        })
    })
}
