SELECT payload ->> 'command_id' FROM plumbing.outbox WHERE published_at IS NULL AND kind = 'command'
