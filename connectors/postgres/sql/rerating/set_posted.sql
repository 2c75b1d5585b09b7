UPDATE books.rerating_accounts SET
    state = 'posted', posted_at = $3, posted_seq = nextval('books.rerating_posted'), command_id = $4, tries = tries + 1
WHERE rerating_id = $1 AND account_id = $2
