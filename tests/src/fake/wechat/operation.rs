//! What operators ask for: quotas, and whether a text may be published.

use serde_json::{Value, json};

use super::{App, Asked, Refusal, body};

pub(super) fn call(app: &mut App, asked: &Asked) -> Result<Value, Refusal> {
    match asked.path.as_str() {
        "/cgi-bin/openapi/quota/get" => {
            let body = body(asked)?;
            let path = body["cgi_path"].as_str().filter(|path| path.starts_with('/')).ok_or(76021)?;
            let (limit, used) = app.quotas.get(path).map_or((500_000, 0), |quota| (quota.limit, quota.used));
            let quota = json!({ "daily_limit": limit, "used": used, "remain": limit - used });
            let rate = json!({ "call_count": 0, "refresh_second": 60 });
            Ok(json!({ "errcode": 0, "errmsg": "ok", "quota": quota, "rate_limit": rate }))
        }
        "/cgi-bin/clear_quota" => {
            body(asked)?;
            app.quotas.values_mut().for_each(|quota| quota.used = 0);
            Ok(json!({ "errcode": 0, "errmsg": "ok" }))
        }
        "/wxa/msg_sec_check" => {
            let body = body(asked)?;
            let content = body["content"].as_str().filter(|it| it.chars().count() <= 2_500);
            let content = content.ok_or(Refusal { code: 40129, words: "content is too long".to_owned() })?;
            let suggest = if content.contains("risky") { "risky" } else { "pass" };
            let result = json!({ "suggest": suggest, "label": if suggest == "pass" { 100 } else { 20_001 } });
            Ok(
                json!({ "errcode": 0, "errmsg": "ok", "trace_id": "60ae120f-371d5872-7941a05b", "result": result, "detail": [] }),
            )
        }
        "/wxaapi/log/jserr_list" => {
            Ok(json!({ "errcode": 0, "errmsg": "ok", "success": true, "openid": "", "data": [], "totalCount": 0 }))
        }
        "/wxaapi/feedback/list" => Ok(json!({ "errcode": 0, "errmsg": "ok", "list": [], "total_num": 0 })),
        "/wxaapi/userlog/userlog_search" => {
            Ok(json!({ "errcode": 0, "errmsg": "", "data": { "list": [], "total": 0 } }))
        }
        _ => Err(48001.into()),
    }
}
