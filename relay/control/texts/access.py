"""Words of the log-in page, of the frame around all pages, and of a relay that has nothing to show yet."""

TEXTS: dict[str, tuple[str, str]] = {
    "log_in": ("Log in", "ログイン"),
    "log_out": ("Log out", "ログアウト"),
    "logged_out": ("You are logged out.", "ログアウトしました。"),
    "password": ("Password", "パスワード"),
    "password_where": (
        "It is the one that you chose, or wrote down, in set-up. Forgotten? It is in the file `web.secret` beside the relay's "
        "`config.yaml`, or where its settings say: `web.password_file`, `web.password` or `RELAY_WEB_PASSWORD`.",
        "初期設定で決めた（または控えた）パスワードです。忘れた場合は、リレーの`config.yaml`と同じフォルダーの`web.secret`、"
        "または設定の`web.password_file`、`web.password`、`RELAY_WEB_PASSWORD`をご確認ください。",
    ),
    "no_password": ("Type the password first.", "パスワードを入力してください。"),
    "password_wrong": ("This is not the password.", "パスワードが違います。"),
    "too_many_tries": (
        "Too many wrong passwords came from here. Wait ten seconds, then try again.",
        "誤ったパスワードが続いています。10秒ほど待ってから、もう一度お試しください。",
    ),
    "log_in_again": (
        "This form was too old, or cookies are off. Please type the password again.",
        "フォームの有効期限が切れたか、Cookieが無効です。もう一度パスワードを入力してください。",
    ),
    # time
    "zone_of": ("Times are those of {zone} ({offset}).", "時刻は {zone}（{offset}）です。"),
    "zone_here": ("Times are those of the relay's machine ({offset}).", "時刻はリレーが動いている機器のもの（{offset}）です。"),
    # no mail is taken
    "trouble_spool_full": ("{why}", "スプールに空きがなく、メールを受け付けられません（デバイスには452を返します）。{why}"),
    "trouble_spool_away": ("{why}", "スプールのデータベースに接続できません（デバイスには451を返します）。{why}"),
    "trouble_runner_silent": ("{why}", "送信処理が3分間動いていません。{why}"),
    # nothing to show yet
    "untried": ("No sent mail is on record yet.", "送信の記録はまだありません。"),
    "begin": ("Point a device here", "デバイスの設定"),
    "begin_type": (
        "In the device's mail settings, type this as its SMTP server. No encryption and no login are needed. "
        "The sender's address may be any: the relay corrects it.",
        "デバイスのメール設定で、SMTPサーバーに次を入力します。暗号化とログインは不要です。"
        "差出人アドレスは何でも構いません。リレーが正しいものに直します。",
    ),
    "begin_type_strict": (
        "In the device's mail settings, type this as its SMTP server. It wants encryption or a login, as shown below. "
        "The sender's address may be any: the relay corrects it.",
        "デバイスのメール設定で、SMTPサーバーに次を入力します。この受付口には暗号化またはログインの設定があります。"
        "差出人アドレスは何でも構いません。リレーが正しいものに直します。",
    ),
    "server_address": ("Server (address)", "サーバー（アドレス）"),
    "server_port": ("Port", "ポート"),
    "this_machine": ("the address of this machine", "この機器のアドレス"),
    "port_inside": (
        "This is the port inside the container; the device needs the one that it is published as.",
        "これはコンテナ内のポートです。デバイスには、外部に公開しているポートを入力してください。",
    ),
    "copy": ("Copy", "コピー"),
    "copy_what": ("Copy {what}", "{what}をコピー"),
    "copied": ("Copied", "コピーしました"),
    "begin_sender": ("Sender", "差出人"),
    "begin_any_sender": (
        "Any address. The relay puts in its own where the provider asks for that.",
        "どのアドレスでもかまいません。プロバイダーが求める場合は、リレーが置き換えます。",
    ),
    "turned_away": (
        "{n} device tried to send and was refused: its address, {who}, may not send here. Is it yours?"
        "|{n} devices tried to send and were refused: their addresses may not send here. The last were {who}. Are they yours?",
        "{n}台のデバイスが送信しようとして拒否されました（直近: {who}）。許可されていないアドレスです。"
        "お使いのデバイスですか？",
    ),
    "turned_away_title": ("Refused for their address", "アドレスのため拒否されたデバイス"),
    "turned_away_ours": (
        "If one is your device: in the settings, write its line below `listen`. Where there is a line `networks` already, add"
        " the address to that.",
        "お使いのデバイスの場合: 設定の `listen` の下に、そのデバイスの行を書いてください。"
        "すでに `networks` の行があれば、そこにアドレスを追加します。",
    ),
    "turned_away_keep": (
        "Leave `private` in the list: it stands for your home network, and without it your other devices are refused. In a"
        " compose file without settings it is `RELAY_NETWORKS`, with blanks between the addresses.",
        "`private` は消さないでください。家庭内・社内のネットワークを表し、なくなると他のデバイスが拒否されます。"
        "設定ファイルのない compose では `RELAY_NETWORKS` に空白区切りで書きます。",
    ),
    "turned_away_strangers": (
        "If you do not know it: nothing needs to be done. It was refused rightly, and this is gone a day after its last try.",
        "心当たりがない場合は、何もする必要はありません。正しく拒否されています。最後の試行から1日でこの表示は消えます。",
    ),
    "begin_then": (
        "Then let the device send a test message. It will appear on this page.",
        "続いてデバイスからテストメールを送ると、このページに表示されます。",
    ),
}
