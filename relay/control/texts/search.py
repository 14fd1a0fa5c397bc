"""Words of the search and of orders for all that match."""

TEXTS: dict[str, tuple[str, str]] = {
    "search": ("Search", "検索"),
    "search_in": ("Subject, address, device", "件名、アドレス、デバイス"),
    "search_go": ("Search", "検索"),
    "search_state": ("State", "状態"),
    "search_more": ("More to search by", "詳しい条件"),
    "search_address": ("Sender or recipient", "差出人または宛先"),
    "search_subject": ("Subject", "件名"),
    "search_device": ("Device", "デバイス"),
    "search_said": ("What the server said", "サーバーの応答"),
    "search_since": ("Accepted from", "受付日（開始）"),
    "search_until": ("Accepted until", "受付日（終了）"),
    "search_wrong": (
        "This cannot be searched for, so all messages are shown. A day is written as 2026-11-22; a text has at most 8 words"
        " and 200 characters.",
        "この条件では検索できないため、すべて表示しています。"
        "日付は 2026-11-22 の形で、語句は8語・200文字以内で入力してください。",
    ),
    "search_by_state": ("Recipients by state:", "宛先の数（状態別）:"),
    "attention_count": ("messages that need attention", "要対応のメッセージ"),
    "no_match": ("No message matches this search.", "条件に合うメッセージはありません。"),
    "and_more": ("and {n} more", "ほか{n}件"),
    "on_this_page": ("{n} message on this page|{n} messages on this page", "このページに{n}通"),
    "in_all": ("{n} message in all|{n} messages in all", "全{n}通"),
    "all_matching": ("With all messages that match, on every page:", "条件に合うすべてのメッセージ（全ページ）を:"),
    "release_via_all": ("through (when sending again)", "送信先（再送時）"),
    "count_first": ("Count them first", "件数を確認"),
    "matched": ("That match", "条件に合うもの"),
    "matched_fitting": ("To which this applies", "対象になるもの"),
    "messages_counted": ("{n} message|{n} messages", "{n}通"),
    "left_over": (
        "{n} more are left over; give the order again for them",
        "残り{n}通は、もう一度同じ操作をしてください",
    ),
    "matched_again_removed": (
        "What matches is looked up again when you confirm. Messages that came after this page was opened are not removed.",
        "確定した時点でもう一度検索します。このページを開いたあとに届いたメッセージは削除されません。",
    ),
    "matched_again": (
        "What matches is looked up again when you confirm: messages that came or changed meanwhile count as they are then.",
        "確定した時点でもう一度検索します。その間に届いたり変わったりしたメッセージは、その時点の状態で扱います。",
    ),
    "remove_ask_matching": (
        "These messages and their trails will be deleted. They will not be delivered.",
        "これらのメッセージと経過を削除します。配信されません。",
    ),
    "do_for": ("{what}: {n} message|{what}: {n} messages", "{what}（{n}通）"),
}
