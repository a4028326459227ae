//! `smtp` of the test host: what was sent is kept, and the test answers.

use super::{denied, with};
use crate::bindings::upkeep::plugin::smtp::Mail as Wire;
use crate::host::HostResult;
use crate::smtp::{Answer, Mail};

/// Answers mails.
pub(crate) type Postman = Box<dyn FnMut(&Mail) -> HostResult<Answer>>;

pub(crate) fn send(server: &str, mails: &[Wire]) -> HostResult<Vec<HostResult<Answer>>> {
    // The test's function may ask this host for something itself.
    let postman = with(|world| world.smtp.remove(server));
    let Some(mut postman) = postman else { return Err(denied("smtp", server)) };
    let answers = mails.iter().map(|wire| {
        let mail = Mail::of(wire.clone());
        let answer = postman(&mail);
        if answer.as_ref().is_ok_and(|answer| answer.accepted) {
            with(|world| world.mails.push(mail));
        }
        answer
    });
    let answers = answers.collect();
    with(|world| world.smtp.insert(server.to_owned(), postman));
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use crate::HostError;
    use crate::smtp::{Answer, Mail, Stage, send};
    use crate::test::Host;

    #[test]
    fn the_test_answers_and_looks_at_what_was_taken() {
        let host = Host::new().smtp("main", |mail| {
            Ok(match mail.recipients() {
                [one] if one == "nobody@example.org" => Answer::refused(Stage::Recipients, 550, "5.1.1 no such user"),
                _ => Answer::accepted(),
            })
        });
        let mail = |to: &str| Mail::new("a", "upkeep@example.org").to(to).subject("s").text("t").html("<p>t</p>");
        assert!(mail("ops@example.org").together().send("main").unwrap().accepted);
        let refused = mail("nobody@example.org").send("main").unwrap();
        assert!(!refused.accepted && !refused.reply.is_transient());
        assert_eq!((refused.reply.enhanced.as_deref(), refused.stage), (Some("5.1.1"), Stage::Recipients));
        assert!(matches!(mail("ops@example.org").send("other"), Err(HostError::Denied(_))));
        assert_eq!(host.mails(), [mail("ops@example.org").together()]);
        let both = send("main", [mail("nobody@example.org"), mail("root@example.org")]).unwrap();
        assert_eq!(both.into_iter().map(|it| it.unwrap().accepted).collect::<Vec<_>>(), [false, true]);
        assert_eq!((host.mails()[0].bodies(), host.mails()[0].subject_line()), (("t", Some("<p>t</p>")), "s"));
    }
}
