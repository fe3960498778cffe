use super::*;
use crate::dashboard::brand::BrandErrorKind;

fn refused(brand: BrandBuilder, kind: BrandErrorKind, message: &str) {
    let error = brand.build().unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().starts_with(message), "{error}");
}

#[test]
fn a_brand_without_settings_changes_nothing() {
    let brand = Brand::builder().build().unwrap();
    assert_eq!(brand.name(), "API tokens");
    assert_eq!(brand.style(), STYLE);
}

#[test]
fn any_accent_gives_enough_contrast_or_is_refused() {
    let (mut built, mut refused) = (0, 0);
    let channels = [0x00, 0x33, 0x66, 0x99, 0xcc, 0xff];
    for red in channels {
        for green in channels {
            for blue in channels {
                let color = format!("#{red:02x}{green:02x}{blue:02x}");
                match Brand::builder().accent(&color).build() {
                    Ok(brand) => {
                        check(&brand.style()).unwrap();
                        built += 1;
                    }
                    Err(error) => {
                        // The derived colors always have enough contrast.
                        let start = "in the light color scheme, `var(--accent) #";
                        assert!(error.to_string().starts_with(start), "{error}");
                        assert!(error.to_string().ends_with("; set a darker `accent`"));
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(built > 80 && refused > 50, "{built} {refused}");
}

#[test]
fn the_accent_of_the_dark_scheme_is_checked_against_dark_backgrounds() {
    let brand = Brand::builder().accent("#0b3d91");
    let derived = brand.clone().build().unwrap();
    assert!(derived.style().contains("--accent: #0b3d91;"));
    assert_eq!(derived.style().matches("--accent: #0b3d91;").count(), 1);
    let low = brand.clone().dark_accent("#0b3d91");
    refused(
        low,
        BrandErrorKind::Contrast,
        "in the dark color scheme, `var(--accent) #0b3d91` on `var(--page) #0e0f13` has a contrast",
    );
    let high = brand.dark_accent("#7aa2ff").build().unwrap();
    assert!(high.style().contains("--accent: #7aa2ff;"));
}

#[test]
fn only_the_dark_accent_can_be_set() {
    let brand = Brand::builder().dark_accent("#7aa2ff").build().unwrap();
    let style = brand.style();
    let color = |scheme: Scheme<'_>| scheme.root_color("--accent").unwrap().to_string();
    assert_eq!(color(Scheme::light(&style)), "#4f46e5");
    assert_eq!(color(Scheme::dark(&style)), "#7aa2ff");
}

#[test]
fn colors_are_six_hexadecimal_digits() {
    for bad in ["", "red", "#fff", "#0b3d9g", "#0b3d91; }", "rgb(1 2 3)"] {
        refused(
            Brand::builder().accent(bad),
            BrandErrorKind::Color,
            "invalid accent \"",
        );
        refused(
            Brand::builder().dark_accent(bad),
            BrandErrorKind::Color,
            "invalid dark accent \"",
        );
    }
}

#[test]
fn names_and_labels_are_one_line() {
    for bad in ["", "  ", "a\nb", "a\0", &"x".repeat(101)] {
        refused(
            Brand::builder().name(bad),
            BrandErrorKind::Name,
            "invalid name \"",
        );
        refused(
            Brand::builder().with_link(bad, "/docs"),
            BrandErrorKind::Name,
            "invalid label of a link \"",
        );
    }
}

#[test]
fn assets_and_forms_stay_on_the_origin() {
    for bad in [
        "",
        "logo.svg",
        "//cdn.example/logo.svg",
        "/\\cdn.example",
        "https://cdn.example/logo.svg",
        "data:image/svg+xml,",
        "javascript:alert(1)",
    ] {
        for (brand, what) in [
            (Brand::builder().logo(bad), "logo"),
            (Brand::builder().stylesheet(bad), "stylesheet"),
            (Brand::builder().sign_out_form(bad), "sign-out form"),
        ] {
            let message = format!("invalid {what} {bad:?}; expected a path of the same origin");
            refused(brand, BrandErrorKind::Address, &message);
        }
    }
}

#[test]
fn links_are_paths_or_web_addresses() {
    for bad in [
        "",
        "docs",
        "//docs.example",
        "javascript:alert(1)",
        "mailto:a@b",
    ] {
        for (brand, what) in [
            (Brand::builder().with_link("Docs", bad), "link"),
            (Brand::builder().sign_out_link(bad), "sign-out link"),
        ] {
            let message = format!("invalid {what} {bad:?}; expected a path");
            refused(brand, BrandErrorKind::Address, &message);
        }
    }
    for good in ["/", "/docs?a=b", "https://docs.example/tokens#start"] {
        let brand = Brand::builder().with_link("Docs", good).sign_out_link(good);
        assert_eq!(brand.build().unwrap().links()[0].target, good);
    }
}
