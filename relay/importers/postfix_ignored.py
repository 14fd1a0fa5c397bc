"""Postfix's settings that are not imported: a sentence for each, or none where it does not matter.  Data only.  Pure."""

NOT_KEPT = {
    "content_filter": "mail is passed through no other program",
    "smtpd_milters": "the relay has no milters; it signs by DKIM where `dkim` names the domain",
    "non_smtpd_milters": "the relay has no milters; it signs by DKIM where `dkim` names the domain",
    "mime_header_checks": "header lines are not matched against patterns",
    "nested_header_checks": "header lines are not matched against patterns",
    "body_checks": "what a message says is not looked at",
    "smtp_body_checks": "what a message says is not looked at",
    "sender_bcc_maps": "write a rule with `from` and `copy_to` for each line",
    "recipient_bcc_maps": "write a rule with `to` and `copy_to` for each line",
    "canonical_maps": "addresses are changed by the upstream's `sender` and by recipients.aliases only",
    "sender_canonical_maps": "senders are changed by the upstream's `sender` only; a rule with `from` chooses the upstream",
    "masquerade_domains": "the relay strips no subdomains; senders that an account may not use become its `sender`",
    "home_mailbox": "the relay has no mailboxes",
    "mailbox_command": "the relay has no mailboxes",
    "mailbox_transport": "the relay has no mailboxes",
    "virtual_transport": "the relay has no mailboxes",
    "smtpd_sasl_auth_enable": "the users' passwords are in another store; name Dovecot's passwd-file to have them, or"
    " `auth: required` with `users` asks for them again (without it, any name and password will do for who may send by"
    " address)",
    "smtp_bind_address": "the relay calls from the address that the system chooses",
    "smtp_bind_address6": "the relay calls from the address that the system chooses",
    "smtp_tls_cert_file": "to show a client certificate, set `client_cert` and `client_key` of the upstream",
    "smtp_destination_rate_delay": "set `limits: {per_minute: ...}` of the upstream instead",
    "default_destination_rate_delay": "set `limits: {per_minute: ...}` of the upstream instead",
    "smtp_tls_per_site": "write the levels as smtp_tls_policy_maps, or set `tls` of the upstreams",
    "local_transport": "the relay has no mailboxes",
    "luser_relay": "write an alias `*@domain` instead",
}

_USUAL = """
    permit permit_mynetworks permit_sasl_authenticated permit_auth_destination reject_unauth_destination
    defer_unauth_destination reject defer reject_non_fqdn_sender reject_non_fqdn_recipient reject_non_fqdn_helo_hostname
    reject_invalid_helo_hostname reject_unauth_pipelining reject_unknown_sender_domain reject_unknown_recipient_domain
    reject_unknown_client_hostname reject_unlisted_recipient reject_unlisted_sender warn_if_reject
    reject_unknown_helo_hostname reject_unknown_reverse_client_hostname
"""
USUAL_RESTRICTIONS = frozenset(_USUAL.split())
"""Values of smtpd_*_restrictions that only stop strangers from relaying, or check the form of addresses."""

_NO_MATTER = """
    biff append_dot_mydomain append_at_myorigin readme_directory html_directory manpage_directory sample_directory
    compatibility_level smtpd_banner alias_database mailbox_size_limit recipient_delimiter inet_protocols myhostname mydomain
    myorigin smtp_tls_session_cache_database smtp_tls_session_cache_timeout smtp_tls_loglevel smtp_tls_note_starttls_offer
    smtp_tls_CApath smtp_tls_CAfile smtp_tls_key_file smtp_tls_ciphers smtp_tls_mandatory_ciphers smtp_tls_exclude_ciphers
    tls_random_source queue_directory command_directory daemon_directory data_directory config_directory meta_directory
    shlib_directory mail_owner setgid_group newaliases_path mailq_path sendmail_path maillog_file maillog_file_prefixes
    default_database_type smtp_sasl_security_options smtp_sasl_tls_security_options smtp_sasl_mechanism_filter
    smtp_sasl_type smtp_connection_cache_on_demand smtp_cname_overrides_servername smtp_use_tls smtp_enforce_tls
    smtputf8_enable disable_vrfy_command strict_rfc821_envelopes unknown_local_recipient_reject_code smtpd_helo_required
    smtpd_delay_reject smtpd_sasl_path smtpd_sasl_type smtpd_sasl_local_domain smtpd_sasl_security_options
    broken_sasl_auth_clients smtpd_use_tls mynetworks_style default_process_limit minimal_backoff_time maximal_backoff_time
    queue_run_delay bounce_queue_lifetime header_size_limit smtp_host_lookup smtp_address_preference
    smtp_dns_support_level milter_protocol milter_default_action smtp_always_send_ehlo sender_canonical_classes
    recipient_canonical_classes local_header_rewrite_clients relay_domains relay_transport notify_classes
    authorized_submit_users smtpd_sasl_authenticated_header virtual_alias_domains empty_address_relayhost_maps_lookup_key
    smtpd_discard_ehlo_keywords smtpd_discard_ehlo_keyword_address_maps message_strip_characters
    parent_domain_matches_subdomains smtp_tls_mandatory_protocols smtp_tls_protocols smtp_tls_wrappermode
    smtp_destination_concurrency_limit default_destination_concurrency_limit smtp_tls_fingerprint_digest
    smtpd_tls_security_level process_id_directory debugger_command stress
"""
NO_MATTER = frozenset(_NO_MATTER.split())
"""Settings that do not matter here: file paths, incoming mail, or what is read together with another setting."""
