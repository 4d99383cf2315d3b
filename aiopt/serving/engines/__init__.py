"""How requests reach engines: replies, links, sockets, and which engine a request runs on."""
