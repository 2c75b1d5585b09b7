SELECT partition, next_offset FROM facts.offsets WHERE topic = $1
