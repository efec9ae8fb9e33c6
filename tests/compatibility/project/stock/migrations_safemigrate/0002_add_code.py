from importlib import import_module

Migration = import_module("stock.migrations.0002_add_code").Migration
