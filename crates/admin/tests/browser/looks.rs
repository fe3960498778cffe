//! The effects of the style sheet and the script.

use std::time::Duration;

use fantoccini::key::Key;
use serde_json::{Value, json};
use tower_api_tokens::NewToken;

use crate::{browser::Browser, screens, site::Site};

/// Runs a script until its result is as expected.
pub(crate) async fn until(browser: &Browser, script: &str, good: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let asking = async {
        loop {
            last = browser.client.execute(script, vec![]).await.unwrap();
            if good(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), asking).await;
    assert!(in_time.is_ok(), "{script}: {last}");
    last
}

/// Returns the WCAG 2.2 contrast of two computed colors.
fn contrast(front: &str, back: &str) -> f64 {
    let luminance = |color: &str| {
        let numbers = color.split_once('(').unwrap().1.trim_end_matches(')');
        let channels: Vec<f64> = numbers
            .split(',')
            .take(3)
            .map(|channel| channel.trim().parse::<f64>().unwrap() / 255.0)
            .map(|channel| match channel {
                dark if dark <= 0.040_45 => dark / 12.92,
                light => ((light + 0.055) / 1.055).powf(2.4),
            })
            .collect();
        0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    };
    let (a, b) = (luminance(front), luminance(back));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

pub(crate) async fn the_copied_state_has_enough_contrast() {
    let site = Site::start().await;
    site.scene.tokens.create_app("Billing").await.unwrap();
    let browser = Browser::sign_in(&site).await;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        browser.goto("/tokens/new").await;
        browser.fill("#name", "ci").await;
        browser.choose("#app", "Billing").await;
        browser.click("Create token").await;
        browser.heading("Token created").await;
        for source in ["secret", "try"] {
            // The pointer stays on the button, so the hover style applies too.
            browser
                .find(&format!("[data-copy={source}]"))
                .await
                .click()
                .await
                .unwrap();
            let script = format!(
                "const button = document.querySelector('[data-copy={source}]');
                 const style = getComputedStyle(button);
                 const moving = button.getAnimations().length > 0;
                 return [button.textContent, style.color, style.backgroundColor, moving];"
            );
            let shown = until(&browser, &script, |shown| {
                shown[0] == "Copied" && shown[3] == false
            })
            .await;
            let [front, back] = [1, 2].map(|n| shown[n].as_str().unwrap());
            let contrast = contrast(front, back);
            assert!(
                contrast >= 4.5,
                "{scheme}: {front} on {back}: {contrast:.2}"
            );
        }
    }
    browser.close().await;
}

pub(crate) async fn forced_colors_show_the_selected_option() {
    let site = Site::start().await;
    site.scene.tokens.create_app("Billing").await.unwrap();
    let browser = Browser::sign_in(&site).await;
    browser.force_colors().await;
    browser.goto("/tokens/new").await;
    browser.click("30 days").await;
    let script = "return [...document.querySelectorAll('.choices label')].map((label) => {
        const input = label.querySelector('input');
        const style = getComputedStyle(label);
        const box = input.getBoundingClientRect();
        return [label.textContent.trim(), style.backgroundColor, style.color,
            Number(getComputedStyle(input).opacity) * box.width, label.getAnimations().length];
    });";
    let labels = until(&browser, script, |labels| {
        labels.as_array().unwrap().iter().all(|label| label[4] == 0)
    })
    .await;
    let labels = labels.as_array().unwrap();
    let chosen = labels.iter().find(|label| label[0] == "30 days").unwrap();
    for label in labels {
        // The native radio button is visible.
        assert!(label[3].as_f64().unwrap() > 8.0, "{label}");
        if label != chosen {
            assert_ne!(label[1], chosen[1], "{label}");
        }
    }
    let [back, front] = [1, 2].map(|n| chosen[n].as_str().unwrap());
    assert!(contrast(front, back) >= 4.5, "{chosen}");
    browser.close().await;
}

pub(crate) async fn no_word_is_split_at_any_width() {
    let site = Site::start().await;
    screens::fill(&site).await;
    let app = site
        .scene
        .tokens
        .create_app("International Bookkeeping")
        .await;
    let scopes = "invoices:read invoices:write orders:read".parse().unwrap();
    let new = NewToken::named("reconciliation of warehouses").scopes(scopes);
    let token = site
        .scene
        .tokens
        .issue(&app.unwrap().id, new)
        .await
        .unwrap();
    let app = format!("/tokens/apps/{}", token.record().app.id);
    let token = format!("/tokens/token/{}", token.record().id);
    let browser = Browser::sign_in(&site).await;
    // Every word that is not an identifier is on one line.
    let script = "const split = [];
        const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const text = texts.currentNode;
            if (text.parentElement.closest('.mono, code, .hidden, select, thead')) continue;
            for (const word of text.data.matchAll(/[\\p{L}\\d:]+/gu)) {
                const range = document.createRange();
                range.setStart(text, word.index);
                range.setEnd(text, word.index + word[0].length);
                const lines = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
                if (lines.size > 1) split.push(word[0]);
            }
        }
        return [split, document.documentElement.scrollWidth];";
    for width in [1600, 1280, 1150, 1100, 1024, 960, 900, 768, 600, 390, 320] {
        browser.resize(width, 860, width < 600).await;
        for path in [
            "/tokens",
            "/tokens?never_expires=true&created_by=operator&sort=expiry",
            "/tokens/find",
            "/tokens/apps",
            "/tokens/new",
            "/tokens/activity",
            &app,
            &token,
        ] {
            browser.goto(path).await;
            let open =
                "for (const details of document.querySelectorAll('details')) details.open = true";
            browser.client.execute(open, vec![]).await.unwrap();
            let shown = browser.client.execute(script, vec![]).await.unwrap();
            assert_eq!(shown[0], json!([]), "{path} at {width}");
            let wide = shown[1].as_u64().unwrap();
            assert!(wide <= width.into(), "{path} at {width}: {wide}");
        }
    }
    browser.close().await;
}

pub(crate) async fn exact_and_local_times_appear_on_focus_and_tap() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;
    let zone = json!({ "timezoneId": "Asia/Kolkata" });
    browser
        .devtools("Emulation.setTimezoneOverride", zone)
        .await;
    let exact = "14 September 2026, 09:26:53 UTC";
    let local = "14 September 2026 at 14:56:53 GMT+5:30 (your time)";
    let shown = "return document.querySelector('main').innerText";

    browser.goto("/tokens").await;
    let text = until(&browser, shown, |text| {
        text.as_str().unwrap().contains("ada")
    })
    .await;
    assert!(!text.as_str().unwrap().contains("UTC"), "{text}");
    // By keyboard focus.
    let focus = "document.querySelector('.table td a').focus()";
    browser.client.execute(focus, vec![]).await.unwrap();
    for expected in [exact, local] {
        until(&browser, shown, |text| {
            text.as_str().unwrap().contains(expected)
        })
        .await;
    }
    // By tapping the time, on devices without a pointer.
    browser.goto("/tokens").await;
    browser.find(".table .moment").await.click().await.unwrap();
    until(&browser, shown, |text| {
        text.as_str().unwrap().contains(local)
    })
    .await;
    // In the feed, by focusing an event.
    site.audited().create_app("Billing").await.unwrap();
    browser.goto("/tokens/activity").await;
    let focus = "document.querySelector('.feed summary').focus()";
    browser.client.execute(focus, vec![]).await.unwrap();
    for expected in [exact, local] {
        until(&browser, shown, |text| {
            text.as_str().unwrap().contains(expected)
        })
        .await;
    }
    // Always visible on the token's page.
    browser.goto("/tokens").await;
    browser.click("ada").await;
    browser.heading("ada").await;
    let text = browser.text().await;
    assert!(text.contains(exact) && text.contains(local), "{text}");
    browser.close().await;
}

pub(crate) async fn identifiers_are_copied() {
    let site = Site::start().await;
    let app = site.audited().create_app("Billing").await.unwrap();
    // The token's event is then the latest.
    site.scene.clock.advance(Duration::from_secs(1));
    let new = NewToken::named("ci");
    let token = site.audited().issue(&app.id, new).await.unwrap();
    let token = token.record().id.to_string();
    let browser = Browser::sign_in(&site).await;
    let page = format!("/tokens/token/{token}");
    for (path, label, id) in [
        (page.as_str(), "token ID", token.as_str()),
        (
            &format!("/tokens/apps/{}", app.id),
            "app ID",
            app.id.as_str(),
        ),
        ("/tokens/activity", "token ID", &token),
    ] {
        browser.goto(path).await;
        let open =
            "for (const details of document.querySelectorAll('details')) details.open = true";
        browser.client.execute(open, vec![]).await.unwrap();
        // The button must not move while it is pressed.
        let button = browser.find(&format!("[aria-label='Copy {label}']")).await;
        button.click().await.unwrap();
        let copied = "return document.getElementById('copy-status').textContent";
        until(&browser, copied, |status| status == "Copied to clipboard").await;
        assert_eq!(browser.clipboard().await, id, "{path}");
    }
    browser.close().await;
}

pub(crate) async fn an_invalid_form_gets_the_focus_and_leaves_no_history() {
    let site = Site::start().await;
    let app = site.scene.tokens.create_app("Billing").await.unwrap();
    let token = site
        .scene
        .tokens
        .issue(&app.id, NewToken::named("ci"))
        .await;
    let token = format!("/tokens/token/{}", token.unwrap().record().id);
    let app = format!("/tokens/apps/{}", app.id);
    let browser = Browser::sign_in(&site).await;
    for (path, field, button) in [
        (&token, "#confirm", "Revoke token"),
        (&token, "#new-name", "Rename"),
        (&app, "#confirm", "Disable app"),
    ] {
        browser.goto(path).await;
        browser.fill(field, "  ").await;
        browser.click(button).await;
        browser.find(".notice.bad").await;
        let focused =
            format!("return document.activeElement === document.querySelector('{field}')");
        until(&browser, &focused, |focused| focused == true).await;
        assert_eq!(browser.path().await, *path);
        // A reload shows the page without submitting the form.
        browser.client.refresh().await.unwrap();
        until(
            &browser,
            "return document.querySelector('.notice.bad') === null",
            |gone| gone == true,
        )
        .await;
        assert_eq!(browser.path().await, *path);
    }
    browser.close().await;
}

pub(crate) async fn many_apps_are_searched_with_the_keyboard() {
    let site = Site::start().await;
    for n in 0..205 {
        let name = format!("shop {n}");
        site.scene.tokens.create_app(&name).await.unwrap();
    }
    site.scene.tokens.create_app("Billing").await.unwrap();
    let browser = Browser::sign_in(&site).await;
    browser.goto("/tokens/new").await;
    browser.fill("#name", "nightly export").await;
    browser.fill("#scopes", "invoices:read").await;
    browser
        .find("[name=find]")
        .await
        .send_keys("bill")
        .await
        .unwrap();
    browser.click("Find apps").await;
    browser.find("#app option").await;
    // Pressing Enter in a field creates the token instead of searching.
    let enter = char::from(Key::Enter).to_string();
    browser.find("#name").await.send_keys(&enter).await.unwrap();
    browser.heading("Token created").await;
    let token = site.issued().await.remove(0);
    assert_eq!(
        (
            token.name.as_str(),
            token.scopes.as_str(),
            token.app.name.as_str()
        ),
        ("nightly export", "invoices:read", "Billing")
    );
    browser.close().await;
}
