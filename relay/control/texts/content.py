"""Words of the pages that show what a message says."""

TEXTS: dict[str, tuple[str, str]] = {
    "content": ("Content", "本文"),
    "look_at_it": ("Look at the message", "メッセージの内容を見る"),
    "content_deleted": (
        "The content is deleted after delivery.",
        "本文は配信後に削除されます。",
    ),
    "look_is_told": (
        "That somebody looked is noted in the trail of this message.",
        "閲覧したことは、このメッセージの経過に記録されます。",
    ),
    "download": ("Download as .eml", ".eml でダウンロード"),
    "changes": ("Before and after", "修復前と修復後"),
    "changes_how": (
        "The message as the device sent it, and as it goes to {name} by today's configuration.",
        "デバイスが送ったままのメッセージと、現在の設定で {name} に送られるメッセージです。",
    ),
    "change": ("Change", "変更"),
    "field_same": ("same", "同じ"),
    "field_changed": ("changed", "変更"),
    "field_added": ("added", "追加"),
    "field_removed": ("removed", "削除"),
    "as_it_came": ("As it came", "受け取ったとき"),
    "as_it_is_sent": ("As it is sent", "送信するとき"),
    "body_begins": ("The beginning of the text", "本文の冒頭"),
    "body_same": ("It is sent as it came.", "受け取ったまま送信します。"),
    "content_text": ("Text", "テキスト"),
    "content_no_text": ("The message has no text.", "テキストはありません。"),
    "content_cut": ("The text is longer than what is shown here.", "長いため、途中まで表示しています。"),
    "content_html": ("HTML", "HTML"),
    "content_html_safe": (
        "Scripts do not run here, links lead nowhere, and pictures from elsewhere are not loaded.",
        "スクリプトとリンクは動作せず、外部の画像は読み込みません。",
    ),
    "content_header": ("Header", "ヘッダー"),
    "attachments": ("Attachments", "添付ファイル"),
    "attachments_none": ("Nothing is attached.", "添付ファイルはありません。"),
    "attachment_name": ("Name", "名前"),
    "attachment_kind": ("Kind", "種類"),
    "attachment_unnamed": ("(no name)", "（名前なし）"),
    "content_left": ("{n} more are not shown", "ほか{n}件は表示していません"),
    "content_not_whole": (
        "The message is so large that its end was not looked at.",
        "大きなメッセージのため、最後までは調べていません。",
    ),
    "content_off": (
        "What messages say is not shown here: web.content is false.",
        "設定（web.content: false）により、メッセージの内容は表示しません。",
    ),
    "content_gone": (
        "No message has this id. Finished messages are deleted after some time.",
        "このメッセージは見つかりません。",
    ),
    "content_dropped": (
        "The content of this message is no longer kept, since it was delivered or is part of a digest. Its trail is.",
        "配信済み、またはまとめて送信済みのため、内容は保管していません。経過は残っています。",
    ),
    "content_damaged": (
        "The stored content of this message is damaged. The doctor examines the spool and says what to do.",
        "保管されている内容が壊れています。診断でスプールを検査し、対処を確認してください。",
    ),
    "content_busy": (
        "Too many look into messages now. Try again in a moment.",
        "閲覧が混み合っています。少し待ってからもう一度お試しください。",
    ),
}
