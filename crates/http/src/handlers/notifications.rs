//! Plans, routes, dashboard, history, trends.

use actix_web::{HttpRequest, HttpResponse, web};
use cavra_app::App;
use cavra_app::plan::{ConfiguredSchedule, Delivered};
use cavra_app::views::{Escalated, Trend};

use cavra_domain::trend::RouteTrend;

use super::{Answer, conditional, run};
use crate::extract::{Json, Permitted, Query};
use crate::wire::{
    DashboardQuery, DeliverBody, EscalationBody, HistoryQuery, NoQuery, RouteTrendQuery, RoutesQuery,
    ScheduleQuery, SummaryQuery, TrendQuery,
};

pub(crate) async fn schedule(
    app: web::Data<App>,
    Permitted(_): Permitted,
    Query(query): Query<ScheduleQuery>,
) -> Answer<web::Json<ConfiguredSchedule>> {
    let schedule_id = query.schedule_id()?;
    run(&app, move |app| app.schedule_report(schedule_id.as_ref()))
        .await
        .map(web::Json)
}

pub(crate) async fn deliver(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<DeliverBody>,
) -> Answer<web::Json<Delivered>> {
    let command = body.command(caller)?;
    run(&app, move |app| app.deliver(command)).await.map(web::Json)
}

pub(crate) async fn escalation_plan(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<EscalationBody>,
) -> Answer<web::Json<Escalated>> {
    let (policy, actor) = body.command(caller)?;
    run(&app, move |app| app.escalation_plan(policy, actor))
        .await
        .map(web::Json)
}

pub(crate) async fn history(
    app: web::Data<App>,
    Permitted(_): Permitted,
    request: HttpRequest,
    Query(query): Query<HistoryQuery>,
) -> Answer<HttpResponse> {
    let as_of = query.as_of()?;
    let (filter, paging) = query.command()?;
    let page = run(&app, move |app| app.history_as_of(&filter, &paging, as_of)).await?;
    conditional(&request, &page)
}

pub(crate) async fn dashboard(
    app: web::Data<App>,
    Permitted(_): Permitted,
    request: HttpRequest,
    Query(query): Query<DashboardQuery>,
) -> Answer<HttpResponse> {
    let as_of = query.as_of()?;
    let dashboard = run(&app, move |app| app.dashboard_as_of(as_of)).await?;
    conditional(&request, &dashboard)
}

pub(crate) async fn routes(
    app: web::Data<App>,
    Permitted(_): Permitted,
    request: HttpRequest,
    Query(query): Query<RoutesQuery>,
) -> Answer<HttpResponse> {
    let as_of = query.as_of()?;
    let (filter, cycles, sort, paging) = query.command()?;
    let page = run(&app, move |app| {
        app.routes_as_of(&filter, cycles, sort, &paging, as_of)
    })
    .await?;
    conditional(&request, &page)
}

pub(crate) async fn route_summary(
    app: web::Data<App>,
    Permitted(_): Permitted,
    request: HttpRequest,
    Query(query): Query<SummaryQuery>,
) -> Answer<HttpResponse> {
    let as_of = query.as_of()?;
    let (filter, cycles, by, limit) = query.command()?;
    let summary = run(&app, move |app| {
        app.route_summary(&filter, cycles, by, limit, as_of)
    })
    .await?;
    conditional(&request, &summary)
}

pub(crate) async fn route_trend(
    app: web::Data<App>,
    Permitted(_): Permitted,
    Query(query): Query<RouteTrendQuery>,
) -> Answer<web::Json<RouteTrend>> {
    let as_of = query.as_of()?;
    let (filter, hours, points) = query.command()?;
    run(&app, move |app| app.route_trend(&filter, hours, points, as_of))
        .await
        .map(web::Json)
}

pub(crate) async fn suppression_trends(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(query): Query<TrendQuery>,
) -> Answer<web::Json<Trend>> {
    let (filter, generated_by) = query.command(caller)?;
    run(&app, move |app| app.suppression_trend(&filter, generated_by))
        .await
        .map(web::Json)
}
