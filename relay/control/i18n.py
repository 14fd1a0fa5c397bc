"""The page's words, in English and Japanese.  What servers and the trail say stays as it was said.  Pure."""

from datetime import datetime, timedelta

LANGUAGES = ("en", "ja")

TEXTS: dict[str, tuple[str, str]] = {
    # the frame
    "title": ("Mail relay", "メールリレー"),
    "overview": ("Overview", "概要"),
    "queue": ("Messages", "メッセージ"),
    "skip": ("Skip to the content", "本文へ"),
    "reload": ("Refresh", "再読み込み"),
    "live": ("Live", "自動更新中"),
    "away": ("The relay does not answer", "リレーが応答しません"),
    # at a glance
    "all_well": ("All is well.", "すべて正常です。"),
    "look_here": ("Needs attention.", "確認が必要です。"),
    "trouble": ("The relay is in trouble.", "リレーに問題が起きています。"),
    "quiet": ("Nothing was sent in the last 24 hours.", "過去24時間に送信はありません。"),
    "relayed_day": (
        "{n} message went out in the last 24 hours.|{n} messages went out in the last 24 hours.",
        "過去24時間に{n}通を送信しました。",
    ),
    "none_waits": ("Nothing is waiting.", "待機中のメッセージはありません。"),
    "some_wait": ("{n} message waits.|{n} messages wait.", "{n}通が待機中です。"),
    "some_held": ("{n} recipient is held by hand.|{n} recipients are held by hand.", "{n}件が手動で保留中です。"),
    "some_failed": (
        "{n} recipient did not get their message.|{n} recipients did not get their message.",
        "{n}件の宛先に届きませんでした。",
    ),
    "resting": (
        "{name} does not work now and is paused until {until}.",
        "{name} は利用できないため、{until} まで休止中です。",
    ),
    "login_refused": (
        "{name} refused the login and is paused until {until}.",
        "{name} がログインを拒否したため、{until} まで休止中です。",
    ),
    "login_refused_before": ("{name} refused the login.", "{name} がログインを拒否しました。"),
    "silent": (
        "{name} last sent mail {since}, longer ago than expected.",
        "{name} の最後の送信は{since}で、予定より遅れています。",
    ),
    "findings_bad": ("The doctor found {n} problem.|The doctor found {n} problems.", "診断で{n}件の問題が見つかりました。"),
    # numbers
    "relayed_24h": ("sent, 24 hours", "送信（24時間）"),
    "waiting": ("waiting", "待機中"),
    "oldest": ("oldest waiting", "最も古い待機"),
    "failed_kept": ("failed, kept", "失敗（保管中）"),
    "room": ("room for mail", "空き容量"),
    # parts
    "week": ("The last seven days", "過去7日間"),
    "week_words": (
        "{relayed} sent, {deferred} delayed, {failed} failed",
        "送信 {relayed}、遅延 {deferred}、失敗 {failed}",
    ),
    "deferred": ("delayed", "遅延"),
    "day": ("Day", "日"),
    "in_numbers": ("In numbers", "数値で見る"),
    "latest": ("Latest messages", "最近のメッセージ"),
    "all_messages": ("All messages", "すべてのメッセージ"),
    "no_messages": (
        "No message yet. Set up a device to send here. Its messages will appear in this list.",
        "まだメッセージはありません。",
    ),
    "no_such": ("No message is in this list.", "該当するメッセージはありません。"),
    "upstreams": ("Upstreams", "送信先サーバー"),
    "listeners": ("Listeners", "受付口"),
    "certificate": (
        "certificate: {n} day left ({date})|certificate: {n} days left ({date})",
        "証明書：残り{n}日（{date}まで）",
    ),
    "certificate_ended": ("certificate: ended on {date}", "証明書：{date}に期限切れ"),
    "certificate_none": (
        "The certificate for {name} cannot be used, so nothing can be sent there.",
        "{name} 用の証明書を使用できないため、送信できません。",
    ),
    "certificate_bad": (
        "The certificate of {name} in the files cannot be used; the old one is still shown.",
        "{name} の新しい証明書を使用できないため、以前の証明書を使い続けています。",
    ),
    "devices": ("Devices", "デバイス"),
    "no_devices": ("No device has connected since the start.", "起動後、デバイスからの接続はまだありません。"),
    "findings": ("The doctor's findings", "診断結果"),
    "up": ("ready", "正常"),
    "relays": ("Relays of this queue", "このキューのリレー"),
    "relay_alive": ("alive", "稼働中"),
    "relay_silent": ("no heartbeat", "応答なし"),
    "spool_away": (
        "The queue cannot be reached now. The relay goes on by itself as soon as it can.",
        "キューに接続できません。復旧すると自動的に再開します。",
    ),
    "rests": ("paused", "休止中"),
    "until": ("until {until}", "{until} まで"),
    "sent_today": ("{n} sent today (UTC)", "今日（UTC）{n}通送信"),
    "of_limit": ("of {n}", "上限 {n}"),
    "per_minute": ("at most {n} a minute", "毎分最大{n}通"),
    "in_flight": ("{n} being sent", "送信中 {n}"),
    "failures": ("{n} failure in a row|{n} failures in a row", "連続{n}回失敗"),
    "device": ("Device", "デバイス"),
    "last_seen": ("Last seen", "最終接続"),
    "calls_itself": ("Calls itself", "名乗り"),
    "messages": ("Messages", "通数"),
    "refused_count": ("Refused", "拒否"),
    "quirks": ("Tolerated quirks", "許容した不備"),
    "all_devices": ("All devices", "すべてのデバイス"),
    "no_known_devices": ("The configuration names no device.", "設定にデバイスがありません。"),
    "unknown_devices": ("Not in the configuration yet", "未登録のデバイス"),
    "copy_devices": ("To give them names, copy this into the configuration:", "名前を付けるには、次を設定に追加します:"),
    "known_by": ("Known by", "識別"),
    "last_mail": ("Last mail", "最終メール"),
    "overdue": ("longer ago than expected", "予定より遅れています"),
    "merged_of_it": ("{n} of the latest in digests", "うち最近の{n}通はまとめて送信"),
    "waits_now": ("Waits now", "待機中"),
    "quiet_now": ("quiet hours until {when}", "静音時間中（{when}まで）"),
    "wait_for_morning": (
        "{n} message waits for the end of quiet hours|{n} messages wait for the end of quiet hours",
        "{n}通が静音時間の終了待ち",
    ),
    "collecting": (
        "{n} message waits for a digest, due by {when}|{n} messages wait for a digest, due by {when}",
        "{n}通がダイジェスト待ち（遅くとも{when}）",
    ),
    "digests": ("Digests", "ダイジェスト"),
    "expected_every": ("expected every {every}", "{every}ごとに予定"),
    # one message
    "message": ("Message", "メッセージ"),
    "no_subject": ("(no subject)", "（件名なし）"),
    "from": ("From", "差出人"),
    "to": ("To", "宛先"),
    "size": ("Size", "サイズ"),
    "accepted": ("Accepted", "受付"),
    "client": ("Device", "デバイス"),
    "listener": ("Listener", "受付口"),
    "recipients": ("Recipients", "宛先"),
    "attempts": ("{n} attempt|{n} attempts", "試行{n}回"),
    "next_try": ("next attempt {when}", "次の試行は{when}"),
    "words": ("What the server said", "サーバーの応答"),
    "own_words": ("What the relay found", "リレーの判断"),
    "maybe": (
        "{name} may have taken it {when}: its final reply was lost. No other upstream is tried for now.",
        "{name} が受け取った可能性があります（{when}、最終応答なし）。当面は他のサーバーに送りません。",
    ),
    "unheard": (
        "{n} failure needs attention: nobody could be told of it|{n} failures need attention: nobody could be told of them",
        "要対応の失敗が{n}件あります（誰にも通知できませんでした）",
    ),
    "unheard_one": ("Nobody could be told of this failure.", "この失敗は誰にも通知できませんでした。"),
    "acknowledge": ("I have seen it", "確認しました"),
    "attention": ("needs attention", "要対応"),
    "done_acknowledge": ("{n} failure was acknowledged.|{n} failures were acknowledged.", "{n}件を確認済みにしました。"),
    "risk": (
        "Another upstream may have taken it before. The recipient may get it twice.",
        "別のサーバーがすでに受け取っている可能性があり、二重に届くことがあります。",
    ),
    "why": ("Why, and what to do", "原因と対処"),
    "repairs": ("What was repaired", "修復した内容"),
    "trail": ("Trail", "経過"),
    "details": ("Trail in short", "経過の要約"),
    "notice_title": ("Notice from this relay", "このリレーからのお知らせ"),
    "notice_mark": ("notice", "リレーからの通知"),
    "by_order": ("by order through {name}", "{name} 経由の指示"),
    # states
    "queued": ("waiting", "待機中"),
    "held": ("held", "保留"),
    "relayed": ("sent", "送信済み"),
    "failed": ("failed", "失敗"),
    "expired": ("given up", "断念"),
    "merged": ("merged", "まとめ済み"),
    "quiet_until": ("quiet hours of the device, until {when}", "デバイスの静音時間中（{when}まで）"),
    "for_digest": ("waits for a digest, due by {when}", "ダイジェスト待ち（遅くとも{when}）"),
    "for_digest_with": (
        "waits for a digest of {n} messages so far, due by {when}",
        "ダイジェスト待ち（これまでに{n}通、遅くとも{when}）",
    ),
    "digest_of": ("A digest of {n} messages of the device", "このデバイスの{n}通をまとめたもの"),
    "digest_parts": ("Merged messages", "まとめたメッセージ"),
    "in_digest": ("It is part of a digest:", "まとめ先:"),
    "some_postponed": (
        "{n} waits for the end of quiet hours or for a digest|{n} wait for the end of quiet hours or for a digest",
        "うち{n}件は静音時間またはダイジェスト待ちです",
    ),
    "any": ("all", "すべて"),
    # stations
    "station_relay": ("relay", "リレー"),
    "station_mended": ("{n} repair|{n} repairs", "修復{n}件"),
    "station_people": ("{n} recipients", "宛先{n}件"),
    "passed": ("passed", "通過"),
    "times": ("{n}×", "{n}回"),
    # acting
    "act": ("Actions", "操作"),
    "retry": ("Try now", "今すぐ再試行"),
    "hold": ("Hold", "保留"),
    "release": ("Release", "送信を再開"),
    "send_again": ("Send again", "再送"),
    "release_or_again": ("Release or send again", "送信を再開・再送"),
    "release_via": ("through", "送信先"),
    "as_routed": ("as routed", "通常の経路"),
    "remove": ("Remove", "削除"),
    "remove_really": ("Remove for good", "完全に削除"),
    "remove_ask": (
        "The message and its trail will be deleted. It will not be delivered.",
        "メッセージと経過を削除します。配信されません。",
    ),
    "remove_ask_many": (
        "The chosen messages and their trails will be deleted. They will not be delivered.",
        "選択したメッセージと経過を削除します。配信されません。",
    ),
    "open_it": ("Send again, remove, details", "再送・削除・詳細"),
    "retry_all": ("Try everything now", "すべて今すぐ再試行"),
    "choose": ("Choose message {id}", "{id} を選択"),
    "chosen": ("With the chosen messages:", "選択したメッセージを:"),
    "done_retry": ("{n} message will be tried now.|{n} messages will be tried now.", "{n}通を再試行します。"),
    "done_hold": ("{n} message is held.|{n} messages are held.", "{n}通を保留しました。"),
    "done_release": ("{n} message will be sent again.|{n} messages will be sent again.", "{n}通の送信を再開しました。"),
    "done_remove": ("{n} message was removed.|{n} messages were removed.", "{n}通を削除しました。"),
    "done_none": (
        "Nothing was done: this action does not apply to these messages now.",
        "該当するメッセージがないため、何もしませんでした。",
    ),
    "done_unticked": ("Tick at least one message first.", "先にメッセージを一通以上選択してください。"),
    "newer": ("Newer", "新しい方へ"),
    "older": ("Older", "古い方へ"),
    "page_of": ("{first} to {last}", "{first}〜{last}件目"),
    # errors
    "not_found": ("There is no such page here.", "このページはありません。"),
    "gone": ("No message has this id. Finished messages are deleted after some time.", "このメッセージは見つかりません。"),
    "stale_form": (
        "This form is no longer valid. Nothing was done; go back, reload the page, and try again.",
        "このフォームは無効です。何も実行していません。戻って再読み込みしてください。",
    ),
    "bad_order": ("This action is not possible here.", "その操作はできません。"),
    "back": ("Back", "戻る"),
    # time
    "now": ("just now", "たった今"),
    "s_ago": ("{n} s ago", "{n}秒前"),
    "m_ago": ("{n} min ago", "{n}分前"),
    "h_ago": ("{n} h ago", "{n}時間前"),
    "d_ago": ("{n} days ago", "{n}日前"),
    "s_in": ("in {n} s", "{n}秒後"),
    "m_in": ("in {n} min", "{n}分後"),
    "h_in": ("in {n} h", "{n}時間後"),
    "d_in": ("in {n} days", "{n}日後"),
    "s_long": ("{n} s", "{n}秒"),
    "m_long": ("{n} min", "{n}分"),
    "h_long": ("{n} h", "{n}時間"),
    "d_long": ("{n} days", "{n}日"),
}

_UNITS = (("d", 86400, 2), ("h", 3600, 2), ("m", 60, 1), ("s", 1, 1))
_WEEKDAYS = {"en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), "ja": ("月", "火", "水", "木", "金", "土", "日")}


class Texts:
    """The words of one language: `t("some_wait", n=3)`.  Raises KeyError for what has no words."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, **values: object) -> str:
        text = TEXTS[key][self._column]
        one, _, many = text.partition("|")
        return (one if values.get("n") == 1 or not many else many).format(**values)

    def ago(self, moment: datetime, now: datetime) -> str:
        """`3 min ago`, `in 4 h`."""
        seconds = (now - moment).total_seconds()
        if abs(seconds) < 5:
            return self("now")
        unit, number = _largest(abs(seconds))
        return self(f"{unit}_{'ago' if seconds > 0 else 'in'}", n=number)

    def span(self, length: timedelta) -> str:
        """`26 h`."""
        unit, number = _largest(length.total_seconds())
        return self(f"{unit}_long", n=number)

    def weekday(self, moment: datetime) -> str:
        return _WEEKDAYS[self.language][moment.weekday()]


def _largest(seconds: float) -> tuple[str, int]:
    """The unit that says it in a small number, from two of it up: 26 hours are no `1 day`."""
    for unit, length, least in _UNITS:
        if seconds >= length * least:
            return unit, int(seconds // length)
    return "s", 0


def language_of(accept: str) -> str:
    """The best of our languages by an Accept-Language header (RFC 9110 s12.5.4); English if none is asked for."""
    best, weight = LANGUAGES[0], 0.0
    for part in accept.lower().split(","):
        tag, _, q = part.strip().partition(";")
        try:
            wanted = float(q.strip().removeprefix("q=")) if q else 1.0
        except ValueError:
            continue
        name = tag.strip().partition("-")[0]
        if name in LANGUAGES and wanted > weight:
            best, weight = name, wanted
    return best
