# -*- encoding: utf-8 -*-
# stub: shop_pure 1.4.0.rc1 ruby lib

Gem::Specification.new do |s|
  s.name = "shop_pure".freeze
  s.version = "1.4.0.rc1".freeze

  s.required_rubygems_version = Gem::Requirement.new(">= 0".freeze) if s.respond_to? :required_rubygems_version=
  s.require_paths = ["lib".freeze]
  s.authors = ["pratique".freeze]
  s.date = "1980-01-02"
  s.homepage = "https://example.org".freeze
  s.licenses = ["MIT".freeze, "Apache-2.0".freeze]
  s.rubygems_version = "3.6.7".freeze
  s.summary = "A gem of the tests".freeze

  s.installed_by_version = "3.6.7".freeze

  s.specification_version = 4

  s.add_runtime_dependency(%q<rake>.freeze, [">= 12".freeze])
end
