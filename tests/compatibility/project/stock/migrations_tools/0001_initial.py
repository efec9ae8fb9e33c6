from importlib import import_module

Migration = import_module("stock.migrations.0001_initial").Migration
