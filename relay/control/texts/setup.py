"""Words of set-up in the browser.  Pure."""

TEXTS: dict[str, tuple[str, str]] = {
    "setup_title": ("Set up the relay", "リレーの初期設定"),
    "setup_step_server": ("Provider", "プロバイダー"),
    "setup_step_account": ("Account", "アカウント"),
    "setup_step_try": ("Try it", "動作確認"),
    "setup_go_on": ("Continue", "次へ"),
    "setup_back": ("Back to the set-up", "初期設定に戻る"),
    # the code
    "setup_code_title": ("Is this relay yours?", "このリレーの管理者ですか？"),
    "setup_code_why": (
        "Nothing is set up yet. The relay has written a one-time code to its log; whoever can read the log may go on.",
        "まだ何も設定されていません。リレーのログにワンタイムコードが出力されています。ログを読める方だけが先へ進めます。",
    ),
    "setup_code": ("One-time code", "ワンタイムコード"),
    "setup_code_hint": (
        "In the container's log (`docker compose logs relay`, or “Log” in your NAS's container manager). "
        "Capitals and dashes do not matter.",
        "コンテナのログ（`docker compose logs relay`、またはNASのコンテナ管理画面の「ログ」）にあります。"
        "大文字・小文字やハイフンの有無は問いません。",
    ),
    "setup_code_wrong": (
        "This is not the code. The log's last one counts.",
        "コードが違います。ログの最後に出力されたものを入力してください。",
    ),
    "setup_too_many": (
        "Too many wrong codes. Try again in {n} second.|Too many wrong codes. Try again in {n} seconds.",
        "誤ったコードが多すぎます。{n}秒後にもう一度お試しください。",
    ),
    "setup_over": ("The time for the set-up is over.", "初期設定の受付時間が終わりました。"),
    "setup_over_cure": (
        "Nothing was written. Start the relay again (`docker compose restart relay`); its log then has a new code.",
        "設定は何も保存されていません。リレーを再起動すると（`docker compose restart relay`）、"
        "新しいコードがログに出力されます。",
    ),
    # the provider
    "setup_server_title": ("By which provider is mail sent?", "どのプロバイダーからメールを送りますか？"),
    "setup_server_why": (
        "Your devices hand their mail to the relay; the relay sends it with the account that you have at a provider.",
        "各機器はメールをこのリレーに渡し、リレーはお持ちのプロバイダーのアカウントで送信します。",
    ),
    "setup_provider": ("Provider", "プロバイダー"),
    "setup_provider_hint": ("Each with what it wants for sending.", "送信に必要なものを併記しています。"),
    "setup_provider_empty": (
        "Choose a provider, or name a server below.",
        "プロバイダーを選ぶか、下にサーバー名を入力してください。",
    ),
    "setup_other_server": (
        "My provider is not in this list (name its server below)",
        "一覧にないプロバイダー（下にサーバー名を入力）",
    ),
    "setup_host": ("Outgoing mail server (SMTP), e.g. mail.example.jp", "送信メールサーバー（SMTP）　例：mail.example.jp"),
    "setup_host_hint": (
        "Where your provider is not in the list, or gives each customer a server of their own. Else leave it empty.",
        "プロバイダーが一覧にない場合と、契約ごとにサーバーが異なる場合のみ入力します。それ以外は空欄で構いません。",
    ),
    "setup_host_other": (
        "Only where your contract names another server than usual.",
        "契約で別のサーバーが指定されている場合のみ入力してください。",
    ),
    "setup_and": (", ", "、"),
    "setup_wants_sign_in": ("sign-in (OAuth) with an application of your own", "サインイン（OAuth、自分のアプリ登録が必要）"),
    "setup_wants_key": ("an API key or SMTP password", "APIキーまたはSMTPパスワード"),
    "setup_wants_app_password": ("an app password", "アプリパスワード"),
    "setup_wants_password": ("the mail password", "メールパスワード"),
    "setup_wants_verified": ("a verified sender", "認証済みの差出人"),
    "setup_wants_domain": ("a sender in your domain there", "契約ドメインの差出人"),
    # the account
    "setup_account_title": ("Your account: {name}", "アカウント（{name}）"),
    "setup_look_again": ("Something does not fit yet.", "入力内容をご確認ください。"),
    "setup_wrong": ("This does not fit:", "入力内容が正しくありません："),
    "setup_dotless": (
        "A mail server's name has dots, as in mail.example.jp; your provider's page on e-mail programs has it. "
        "If this one really has none, continue once more.",
        "メールサーバーの名前には通常「.」が含まれます（例：mail.example.jp）。プロバイダーの「メールソフトの設定」をご確認ください。"
        "この名前で正しければ、もう一度「次へ」を押してください。",
    ),
    "setup_empty": ("This is needed.", "入力してください。"),
    "setup_short": ("At least {n} characters.", "{n}文字以上にしてください。"),
    "setup_kept": (
        "Kept as you typed it; leave it empty to leave it so.",
        "入力済みです。変更しない場合は空欄のままにしてください。",
    ),
    "setup_username": ("User name", "ユーザー名"),
    "setup_user_address": ("The full address.", "メールアドレス全体を入力します。"),
    "setup_user_local": ("The part before the @.", "アドレスの@より前の部分です。"),
    "setup_user_dotted": ("The address, with a dot instead of the @.", "アドレスの@を「.」に置き換えたものです。"),
    "setup_user_any": ("As the provider gave it to you.", "プロバイダーから通知されたものです。"),
    "setup_user_generic": (
        "As the provider names it; empty if it wants no login.",
        "プロバイダーから通知されたものです。ログインが不要なら空欄にします。",
    ),
    "setup_password": ("Password", "パスワード"),
    "setup_app_password": (
        "An app password or key, not the one that you log in with yourself.",
        "ご自身のログイン用ではなく、アプリパスワードまたはキーを入力します。",
    ),
    "show": ("Show", "表示"),
    "show_what": ("Show: {what}", "{what}を表示"),
    "setup_app_link": ("Make one at {name}", "{name}で発行する"),
    "setup_sign_in_instead": ("Sign in with {name} instead of a password", "パスワードの代わりに{name}でサインインする"),
    "setup_sign_in_yes": (
        "Yes, sign in (needs an application that you registered)",
        "サインインする（アプリの登録が必要です）",
    ),
    "setup_client_id": ("Application (client) ID", "アプリケーション（クライアント）ID"),
    "setup_client_id_hint": (
        "Of the application that you registered: docs/oauth.md shows how.",
        "登録したアプリのIDです（手順はdocs/oauth.md）。",
    ),
    "setup_tenant": ("Tenant", "テナント"),
    "setup_tenant_hint": ("Its ID or domain; empty: common.", "IDまたはドメインです。空欄の場合はcommonになります。"),
    "setup_client_secret": ("Client secret", "クライアントシークレット"),
    "setup_client_secret_hint": (
        "Google wants it; with Microsoft only where the application has one.",
        "Googleでは必要です。Microsoftではアプリに設定されている場合のみ入力します。",
    ),
    "setup_graph": ("Send by Microsoft Graph (where SMTP is switched off)", "Microsoft Graphで送信する（SMTPが無効な場合）"),
    "setup_token_url": ("Token server", "トークンサーバー"),
    "setup_token_url_hint": (
        "Only for another cloud than the public one; else leave it empty.",
        "通常のクラウド以外を使う場合のみ入力します。それ以外は空欄にします。",
    ),
    "setup_sender": ("Sender", "差出人アドレス"),
    "setup_sender_hint": (
        "Only if your user name is not a mail address: the address that the account may send as.",
        "ユーザー名がメールアドレスでない場合のみ、送信に使えるアドレスを入力します。",
    ),
    "setup_sender_verified": ("An address that is verified at the provider.", "プロバイダーで認証済みのアドレスです。"),
    "setup_notices": ("Who is told when mail fails", "送信失敗の通知先"),
    "setup_notices_hint": ("An address whose mail you read.", "ふだん確認しているメールアドレスです。"),
    "setup_web_password": ("Password for this page", "この管理ページのパスワード"),
    "setup_web_password_hint": (
        "You log in with it from now on. At least {n} characters; leave it empty to have one made.",
        "今後のログインに使います。{n}文字以上です。空欄の場合は自動で作成します。",
    ),
    "setup_server_part": ("Server, port and encryption", "サーバー・ポート・暗号化"),
    "setup_port": ("Port", "ポート"),
    "setup_port_hint": ("Empty: the usual one.", "空欄の場合は標準のポートを使います。"),
    "setup_tls": ("Encryption (TLS)", "暗号化（TLS）"),
    "setup_tls_usual": ("the usual one", "標準"),
    # trying it
    "setup_try_title": ("Try it before it counts", "保存する前の動作確認"),
    "setup_made_password": ("The password for this page", "この管理ページのパスワード"),
    "setup_made_why": ("Note it down now: it is shown only here.", "ここでしか表示されません。必ず控えてください。"),
    "setup_made_again": (
        "Have you noted down the password for this page?",
        "この管理ページのパスワードは控えましたか？",
    ),
    "setup_sign_in_title": ("Sign in with {name}", "{name}でのサインイン"),
    "setup_signed_in": ("{name} has agreed.", "{name}の承認が済みました。"),
    "setup_device": (
        "Open this address in any browser, sign in as {name}, and type the code:",
        "次のアドレスを任意のブラウザーで開き、{name}としてサインインして、コードを入力してください。",
    ),
    "setup_device_wait": (
        "Then this page goes on. The code is good for {n} minute.|Then this page goes on. The code is good for {n} minutes.",
        "承認されると、このページは自動的に進みます。コードの有効期間は{n}分です。",
    ),
    "setup_asking": ("A code is being asked for …", "コードを取得しています…"),
    "setup_browser": (
        "Open the link and sign in as {name}. The last page will not open: copy its address from the browser's bar into "
        "the field below.",
        "リンクを開き、{name}としてサインインしてください。最後のページは表示されません。"
        "ブラウザーのアドレス欄の内容を下の欄に貼り付けてください。",
    ),
    "setup_browser_link": ("Sign in with {name}", "{name}にサインインする"),
    "setup_pasted": ("Address of the last page", "最後のページのアドレス"),
    "setup_by_device": ("Ask for a new code", "新しいコードを取得する"),
    "setup_by_browser": ("Sign in by a link instead", "リンクからサインインする"),
    "setup_doctor": ("What the doctor finds", "診断結果"),
    "setup_doctor_later": ("It looks at everything once you have signed in.", "サインイン後に診断を行います。"),
    "setup_looking": ("Machine, server and login are being looked at …", "この機器、サーバー、ログインを確認しています…"),
    "setup_fine": ("{n} check is fine.|{n} checks are fine.", "{n}件の項目に問題はありません。"),
    "setup_look_anew": ("Look again", "もう一度診断する"),
    "setup_test": ("Send a test message", "テストメールの送信"),
    "setup_test_to": ("To", "宛先"),
    "setup_test_later": ("It can be sent once you have signed in.", "サインイン後に送信できます。"),
    "setup_send": ("Send the test", "テストメールを送る"),
    "setup_send_again": ("Send another one", "もう一度送る"),
    "setup_sending": (
        "{name} is being spoken to, for {n} second.|{name} is being spoken to, for {n} seconds.",
        "{name}と通信しています（{n}秒経過）。",
    ),
    "setup_taken": ("{name} has taken the message for {to}.", "{name}が{to}宛てのメールを受け付けました。"),
    "setup_taken_look": ("Look into that mailbox, also under spam.", "受信トレイと迷惑メールフォルダーをご確認ください。"),
    "setup_refused": ("{name} has not taken the message.", "{name}はメールを受け付けませんでした。"),
    "setup_change": ("Change the account's data", "アカウントの入力内容を変更する"),
    "setup_finish": ("Finish", "設定の完了"),
    "setup_finish_why": (
        "The settings are written to {file}, and the relay begins to take mail. This page then asks for its password.",
        "設定を{file}に保存し、リレーがメールの受付を始めます。その後、このページはパスワードを求めます。",
    ),
    "setup_devices": ("Devices connect to", "機器の接続先"),
    "setup_finish_now": ("Write the settings and start", "設定を保存して開始する"),
    "setup_written": ("Saved. The relay is starting …", "保存しました。リレーを起動しています…"),
    "setup_written_then": (
        "In a moment this page leads to the log-in by itself. If it still does not after a minute, the relay's log says why.",
        "まもなくログイン画面に自動的に移ります。1分待っても移らない場合は、リレーのログで原因をご確認ください。",
    ),
    "setup_to_log_in": ("Go to the log-in now", "今すぐログイン画面へ"),
    "setup_not_written": ("The settings could not be written: {trouble}", "設定を保存できませんでした：{trouble}"),
}
