"""What helps when a token server says no: data.

Sources: learn.microsoft.com "Microsoft Entra authentication and authorization error codes"; RFC 6749 s4.1.2.1, s5.2; RFC
8628 s3.5; developers.google.com "OAuth 2.0 for iOS & Desktop Apps", errors.  Pure.
"""

from relay.upstream.oauth.http import Denied

_CURES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("AADSTS53003", "AADSTS530036", "AADSTS50097", "AADSTS53000"),
        "The organisation's Conditional Access forbids this kind of login: use `--flow code` on a computer that it "
        "manages, or ask the administrator for an exception.",
    ),
    (
        ("AADSTS65001", "AADSTS90094", "AADSTS65004", "consent_required"),
        "The application has no consent for SMTP.Send (`api: graph`: Mail.Send and Mail.ReadWrite): log in again and allow "
        "it, or have an administrator consent to it.",
    ),
    (
        ("AADSTS7000218",),
        "The application is registered as confidential: switch on `Allow public client flows` in its registration, or set "
        "`client_secret_file`.",
    ),
    (
        ("AADSTS7000215", "AADSTS7000222"),
        "The client secret is wrong or has ended: make a new one and put its value (not its id) into `client_secret_file`.",
    ),
    (
        ("AADSTS700027", "AADSTS700024", "AADSTS7000214"),
        "The certificate does not fit: upload the one in `certificate_file` to the application, and check the clock here.",
    ),
    (
        ("AADSTS700016", "AADSTS90002", "AADSTS50059", "AADSTS9002346", "AADSTS50020"),
        "`client_id` and `tenant` do not belong together: see `Overview` of the application's registration. Personal accounts "
        "need `tenant: consumers`.",
    ),
    (
        ("AADSTS50011", "redirect_uri_mismatch"),
        "Add the redirect address http://localhost (of type: mobile and desktop applications) to the application.",
    ),
    (
        ("AADSTS70011", "invalid_scope"),
        "The application may not ask for this scope: add the permission SMTP.Send (`api: graph`: Mail.Send and "
        "Mail.ReadWrite; Google: https://mail.google.com/) to it.",
    ),
    (
        ("AADSTS50173", "AADSTS700082", "AADSTS70008", "AADSTS50076", "AADSTS50078", "AADSTS50079", "AADSTS70043"),
        "The consent has ended (a new password, a new rule of the organisation, or long idleness): log in again.",
    ),
    (("AADSTS50057", "AADSTS50053"), "The account is disabled or locked: ask its administrator."),
    (("expired_token", "code_expired"), "The code was not typed in time: start again."),
    (
        ("access_denied", "authorization_declined"),
        "The consent was declined, or an administrator has to allow the application first.",
    ),
    (
        ("invalid_client", "unauthorized_client", "deleted_client"),
        "Check `client_id` and `client_secret_file`, and which flows the application's registration allows.",
    ),
    (
        ("invalid_grant", "bad_verification_code", "interaction_required"),
        "The consent has ended or was taken back (Google ends it after seven days for applications in Testing, and when the "
        "password changes): log in again.",
    ),
)


def cure_for(denied: Denied) -> str:
    """A sentence for the owner; "" if nothing is known.  Microsoft's numbers know better than the error's name."""
    said = str(denied)
    return next((cure for marks, cure in _CURES if any(_stands_in(mark, said) for mark in marks)), "")


def _stands_in(mark: str, said: str) -> bool:
    """As a whole number or word: AADSTS70008 is not AADSTS700082."""
    _, found, after = said.partition(mark)
    return bool(found) and not after[:1].isalnum()
