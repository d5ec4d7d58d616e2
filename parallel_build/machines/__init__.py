"""Machines: what is put into one, whatever it is made of, and the containers that the lab and the tests run on."""
