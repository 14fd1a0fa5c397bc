"""Microsoft Graph's names of errors, in small letters, by what they are about.  Pure.

Sources: learn.microsoft.com "Microsoft Graph error responses and resource types", "Outlook mail API errors".
"""

TOKEN = "invalidauthenticationtoken authenticationerror unauthenticated unauthorized"  # noqa: S105 - names of errors
DENIED = (
    "erroraccessdenied accessdenied forbidden authorization_requestdenied authorization_identitynotfound "
    "errorimpersonateuserdenied nopermissionsinaccesstoken"
)
MAILBOX = (
    "mailboxnotenabledforrestapi mailboxnotsupportedforrestapi errornonexistentmailbox errorinvaliduser "
    "request_resourcenotfound resourcenotfound erroraccountdisabled organizationfromtenantguidnotfound"
)
SEND_AS = "errorsendasdenied"
QUOTA = "errorexceededmessagelimit errormessagesubmissionblocked errorsubmissionquotaexceeded erroraccountsuspend"
FULL = "errorquotaexceeded"
BUSY = (
    "applicationthrottled toomanyrequests mailboxconcurrency activitylimitreached errortoomanyobjectsopened "
    "errorexceededconnectioncount"
)
AWAY = (
    "errorserverbusy serviceunavailable servicenotavailable generalexception unknownerror errortimeoutexpired "
    "errorinternalservererror errorinternalservertransienterror internalservererror gatewaytimeout badgateway "
    "errormailboxstoreunavailable errormailboxmoveinprogress erroritemnotfound errorirresolvableconflict"
)
SIZE = "errormessagesizeexceeded errorattachmentsizelimitexceeded requestentitytoolarge maximumvalueexceeded"
FORM = (
    "errormimecontentinvalid errormimecontentinvalidbase64string errormimecontentconversionfailed errorcontentconversionfailed"
)
RECIPIENT = "errorinvalidrecipients"
